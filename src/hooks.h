/*
 * hooks.h
 *	  What of other people's commands the workers must know of.
 */
#ifndef NEXUS_HOOKS_H
#define NEXUS_HOOKS_H

/* Called once, by _PG_init; the hooks that were there are called too. */
extern void nexus_hooks_install(void);

/* Warn that no worker can exist, with the lines to add to postgresql.conf. */
extern void nexus_hooks_warn_not_preloaded(void);

#endif							/* NEXUS_HOOKS_H */
