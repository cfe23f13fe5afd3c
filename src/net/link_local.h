/*
 * link_local.h
 *	  Addresses that only mean something on the nearest wire.
 *
 * Clouds serve the credentials of a machine at such addresses, so a URL that
 * leads there is refused unless the administrator allows it.
 */
#ifndef NEXUS_NET_LINK_LOCAL_H
#define NEXUS_NET_LINK_LOCAL_H

#include <stdbool.h>
#include <sys/socket.h>

/*
 * 169.254.0.0/16, also mapped into or embedded in IPv6, fe80::/10 and the
 * metadata address fd00:ec2::254.
 */
extern bool nexus_link_local_is(const struct sockaddr *address);

/* The same of an address in text form; false where it is none. */
extern bool nexus_link_local_is_text(const char *address);

#endif							/* NEXUS_NET_LINK_LOCAL_H */
