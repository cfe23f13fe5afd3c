/*
 * listener_socket.c
 *	  Bind and listen on the addresses of the settings.
 */
#include "postgres.h"

#include "worker/listener_socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage/fd.h"
#include "utils/varlena.h"

/* The kernel cuts it down to net.core.somaxconn. */
#define LISTEN_BACKLOG 4096

static in_port_t *
port_field(struct sockaddr *address)
{
	if (address->sa_family == AF_INET6)
		return &((struct sockaddr_in6 *) address)->sin6_port;
	return &((struct sockaddr_in *) address)->sin_port;
}

static int
read_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t	len = sizeof(address);

	if (getsockname(fd, (struct sockaddr *) &address, &len) != 0)
		return 0;
	return ntohs(*port_field((struct sockaddr *) &address));
}

static bool
set_option(int fd, int level, int name)
{
	int			on = 1;

	return setsockopt(fd, level, name, &on, sizeof(on)) == 0;
}

/* The descriptor, or -1 with errno. */
static int
open_one(const struct addrinfo *info)
{
	int			fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int			saved_errno;

	if (fd < 0)
		return -1;
	if (set_option(fd, SOL_SOCKET, SO_REUSEADDR) &&
		(info->ai_family != AF_INET6 || set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY)) &&
		bind(fd, info->ai_addr, info->ai_addrlen) == 0 &&
		listen(fd, LISTEN_BACKLOG) == 0)
	{
		ReserveExternalFD();
		return fd;
	}

	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return -1;
}

/* With '*' the kernel may lack one of the families. */
static bool
is_family_missing(int error_number)
{
	return error_number == EAFNOSUPPORT || error_number == EADDRNOTAVAIL;
}

/* With port 0 the first socket's port is that of all. */
static bool
add_socket(const struct addrinfo *info, NexusListenerSockets *sockets)
{
	int			fd;

	if (sockets->count == NEXUS_LISTENER_SOCKETS_MAX)
	{
		errno = EMFILE;
		return false;
	}
	*port_field(info->ai_addr) = htons(sockets->port);
	fd = open_one(info);
	if (fd < 0)
		return false;
	sockets->fds[sockets->count++] = fd;
	if (sockets->port == 0)
		sockets->port = read_port(fd);
	return true;
}

/* All that one entry of the list stands for; at least one must be had. */
static bool
add_infos(const char *name, const struct addrinfo *infos, NexusListenerSockets *sockets, NexusError *error)
{
	int			before = sockets->count;

	for (const struct addrinfo *info = infos; info != NULL; info = info->ai_next)
	{
		if (add_socket(info, sockets))
			continue;
		if (!is_family_missing(errno) || (info->ai_next == NULL && sockets->count == before))
			return nexus_error_set(error, "could not listen on address \"%s\", port %d: %s",
								   name, sockets->port, strerror(errno));
	}
	return true;
}

static bool
add_entry(const char *name, NexusListenerSockets *sockets, NexusError *error)
{
	struct addrinfo hints = {0};
	struct addrinfo *infos;
	int			failure;
	bool		ok;

	hints.ai_flags = AI_PASSIVE;
	hints.ai_socktype = SOCK_STREAM;
	/* Without a name there must be a service. */
	failure = getaddrinfo(strcmp(name, "*") == 0 ? NULL : name, "0", &hints, &infos);
	if (failure != 0)
		return nexus_error_set(error, "could not resolve listen address \"%s\": %s",
							   name, gai_strerror(failure));
	ok = add_infos(name, infos, sockets, error);
	freeaddrinfo(infos);
	return ok;
}

static bool
add_entries(List *entries, NexusListenerSockets *sockets, NexusError *error)
{
	ListCell   *cell;

	foreach(cell, entries)
	{
		if (!add_entry(lfirst(cell), sockets, error))
			return false;
	}
	return sockets->count > 0 || nexus_error_set(error, "there is no address to listen on");
}

bool
nexus_listener_socket_open(const char *addresses, int port, NexusListenerSockets *sockets, NexusError *error)
{
	char	   *copy = pstrdup(addresses);
	List	   *entries = NIL;
	bool		ok;

	memset(sockets, 0, sizeof(*sockets));
	sockets->port = port;
	ok = SplitGUCList(copy, ',', &entries) && add_entries(entries, sockets, error);
	if (!ok)
		nexus_listener_socket_close(sockets);
	list_free(entries);
	pfree(copy);
	return ok;
}

void
nexus_listener_socket_close(NexusListenerSockets *sockets)
{
	for (int i = 0; i < sockets->count; i++)
	{
		close(sockets->fds[i]);
		ReleaseExternalFD();
	}
	memset(sockets, 0, sizeof(*sockets));
}
