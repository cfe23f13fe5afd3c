/*
 * local_directory.h
 *	  Names below NEXUS_SOCKET_DIR, for both ends of a local socket.
 */
#ifndef NEXUS_NET_LOCAL_DIRECTORY_H
#define NEXUS_NET_LOCAL_DIRECTORY_H

#define NEXUS_LOCAL_PATH_MAX 96 /* and a suffix fit into an address */

/* Make the directory, mode 0700, unless it is there. */
extern void nexus_local_directory_create(void);

/* The path of a database's socket; "path" has NEXUS_LOCAL_PATH_MAX bytes. */
extern void nexus_local_directory_path(Oid database, char *path);

/* Bind a Unix socket to the name of a database, in the place of a stale one, and listen; raises. */
extern void nexus_local_directory_listen(int fd, Oid database, int backlog);

#endif							/* NEXUS_NET_LOCAL_DIRECTORY_H */
