/*
 * nexus_pg.c
 *	  The module: settings, shared memory, launcher and hooks put together.
 *
 * Without preloading there is neither shared memory nor a worker: operations
 * are stored, and CREATE EXTENSION says so.  The library is then loaded by the
 * script of CREATE EXTENSION, too late for a hook to see that command begin.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "compat.h"
#include "config.h"
#include "fmgr.h"
#include "hooks.h"
#include "miscadmin.h"
#include "shared/stats.h"
#include "shared/waiters.h"
#include "shared/worker_registry.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "worker/launcher.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static shmem_request_hook_type next_shmem_request_hook = NULL;
static shmem_startup_hook_type next_shmem_startup_hook = NULL;

static void
request_shared_memory(void)
{
	if (next_shmem_request_hook != NULL)
		next_shmem_request_hook();
	RequestAddinShmemSpace(nexus_worker_registry_size());
	RequestAddinShmemSpace(nexus_waiters_size());
	RequestAddinShmemSpace(nexus_stats_size());
}

static void
initialize_shared_memory(void)
{
	if (next_shmem_startup_hook != NULL)
		next_shmem_startup_hook();
	nexus_worker_registry_init();
	nexus_waiters_init();
	nexus_stats_init();
}

void
_PG_init(void)
{
	nexus_config_define();
	nexus_hooks_install();

	/* The rest is for the postmaster, before it has shared memory. */
	if (!process_shared_preload_libraries_in_progress)
	{
		if (creating_extension)
			nexus_hooks_warn_not_preloaded();
		return;
	}
	next_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	next_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = initialize_shared_memory;
	if (!IsBinaryUpgrade)
		nexus_launcher_register();
}
