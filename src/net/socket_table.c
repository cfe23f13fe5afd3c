/*
 * socket_table.c
 *	  The descriptors of a library that says what it waits for by callbacks.
 */
#include "postgres.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "net/socket_table.h"

#include "storage/fd.h"

#define NEXUS_FIRST_SOCKETS 64

typedef struct NexusSocketEntry
{
	uint8		wanted;			/* by the library */
	uint8		watched;		/* by the loop */
	uint8		ready;
	bool		is_open;		/* reported as opened */
	bool		is_connection;	/* settled as that of a request */
	const void *request;		/* that it was opened for, until settled */
	bool		is_spent;		/* idle and not to be used again */
	bool		is_changed;		/* in "changed" */
	bool		is_listed;		/* in "ready" */
} NexusSocketEntry;

void
nexus_socket_table_init(NexusSocketTable *table, NexusIoLoop *loop)
{
	memset(table, 0, sizeof(*table));
	table->loop = loop;
}

void
nexus_socket_table_free(NexusSocketTable *table)
{
	for (int fd = 0; fd < table->capacity; fd++)
	{
		if (table->entries[fd].watched)
			nexus_io_loop_unwatch(table->loop, fd);
	}
	for (; table->reserved_count > 0; table->reserved_count--)
		ReleaseExternalFD();
	free(table->entries);
	free(table->opening);
	free(table->changed);
	free(table->ready);
	nexus_socket_table_init(table, table->loop);
}

static bool
grow_array(void *array, size_t size, int count)
{
	void	  **place = array;
	void	   *grown = realloc(*place, size * count);

	if (grown != NULL)
		*place = grown;
	return grown != NULL;
}

/* The entry of a descriptor; NULL where there is no memory. */
static NexusSocketEntry *
get_entry(NexusSocketTable *table, int fd)
{
	int			capacity = Max(table->capacity, NEXUS_FIRST_SOCKETS);

	if (fd < table->capacity)
		return &table->entries[fd];
	while (capacity <= fd)
		capacity *= 2;
	if (!grow_array(&table->opening, sizeof(*table->opening), capacity) ||
		!grow_array(&table->changed, sizeof(*table->changed), capacity) ||
		!grow_array(&table->ready, sizeof(*table->ready), capacity) ||
		!grow_array(&table->entries, sizeof(*table->entries), capacity))
		return NULL;
	memset(table->entries + table->capacity, 0,
		   sizeof(*table->entries) * (capacity - table->capacity));
	table->capacity = capacity;
	return &table->entries[fd];
}

static void
forget(NexusSocketTable *table, int fd)
{
	NexusSocketEntry *entry = &table->entries[fd];

	nexus_io_loop_unwatch(table->loop, fd);
	entry->wanted = 0;
	entry->watched = 0;
	entry->ready = 0;
}

static void
mark_closed(NexusSocketTable *table, NexusSocketEntry *entry)
{
	table->open_count -= entry->is_open;
	entry->is_open = false;
	entry->is_connection = false;
}

bool
nexus_socket_table_opened(NexusSocketTable *table, int fd, const void *request)
{
	NexusSocketEntry *entry = get_entry(table, fd);

	if (entry == NULL)
		return false;
	/* the number may be that of one whose end nobody has told us */
	mark_closed(table, entry);
	forget(table, fd);
	if (entry->request == NULL)
		table->opening[table->opening_count++] = fd;
	entry->request = request;
	entry->is_open = true;
	entry->is_spent = false;
	table->open_count++;
	return true;
}

static int
local_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t	len = sizeof(address);

	if (getsockname(fd, (struct sockaddr *) &address, &len) != 0)
		return -1;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *) &address)->sin6_port);
	return address.ss_family == AF_INET ? ntohs(((struct sockaddr_in *) &address)->sin_port) : -1;
}

void
nexus_socket_table_settle(NexusSocketTable *table, const void *request, int port)
{
	int			kept = 0;

	for (int i = 0; i < table->opening_count; i++)
	{
		int			fd = table->opening[i];
		NexusSocketEntry *entry = &table->entries[fd];

		if (entry->request != request)
		{
			table->opening[kept++] = fd;
			continue;
		}
		entry->request = NULL;
		if (!entry->is_open)
			continue;
		if (port > 0 && local_port(fd) == port)
			entry->is_connection = true;
		else
			mark_closed(table, entry);
	}
	table->opening_count = kept;
}

void
nexus_socket_table_closing(NexusSocketTable *table, int fd)
{
	forget(table, fd);
	mark_closed(table, &table->entries[fd]);
}

bool
nexus_socket_table_want(NexusSocketTable *table, int fd, int interest)
{
	NexusSocketEntry *entry = get_entry(table, fd);

	if (entry == NULL)
		return false;
	entry->wanted = interest;
	if (interest == 0 && !entry->is_connection)
		forget(table, fd);
	if (!entry->is_changed)
	{
		entry->is_changed = true;
		table->changed[table->changed_count++] = fd;
	}
	return true;
}

/*
 * An idle connection was closed by its peer, or holds what nobody asked for,
 * which the library would take for the answer to its next request.  Make it
 * look closed to the library.
 */
static void
spend(NexusSocketTable *table, int fd)
{
	char		bytes[4096];

	(void) shutdown(fd, SHUT_RDWR);
	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	forget(table, fd);
	table->entries[fd].is_spent = true;
}

static void
on_ready(void *arg, int fd, int ready)
{
	NexusSocketTable *table = arg;
	NexusSocketEntry *entry = &table->entries[fd];

	if (entry->wanted == 0 && entry->is_connection)
	{
		spend(table, fd);
		return;
	}
	entry->ready |= ready;
	if (entry->is_listed)
		return;
	entry->is_listed = true;
	table->ready[table->ready_count++] = fd;
}

/* What the loop is to watch for: idle connections for what should not come. */
static int
interest_in(const NexusSocketEntry *entry)
{
	if (entry->wanted == 0 && entry->is_connection && !entry->is_spent)
		return NEXUS_IO_READ;
	return entry->wanted;
}

void
nexus_socket_table_apply(NexusSocketTable *table)
{
	for (; table->reserved_count < table->open_count; table->reserved_count++)
		ReserveExternalFD();
	for (; table->reserved_count > table->open_count; table->reserved_count--)
		ReleaseExternalFD();

	for (int i = 0; i < table->changed_count; i++)
	{
		int			fd = table->changed[i];
		NexusSocketEntry *entry = &table->entries[fd];

		int			interest = interest_in(entry);

		entry->is_changed = false;
		if (interest == entry->watched)
			continue;
		if (interest == 0)
			nexus_io_loop_unwatch(table->loop, fd);
		else
			nexus_io_loop_watch(table->loop, fd, interest, on_ready, table);
		entry->watched = interest;
	}
	table->changed_count = 0;
}

bool
nexus_socket_table_take_ready(NexusSocketTable *table, int *fd, int *ready)
{
	while (table->ready_count > 0)
	{
		NexusSocketEntry *entry;

		*fd = table->ready[--table->ready_count];
		entry = &table->entries[*fd];
		*ready = entry->ready;
		entry->ready = 0;
		entry->is_listed = false;
		if (*ready != 0)
			return true;
	}
	return false;
}
