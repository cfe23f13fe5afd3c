/*
 * local_directory.c
 *	  The names of sockets: one file per database, one symlink per incarnation.
 *
 * Symlinks point to a bare OID, so that the directory can be read from
 * anywhere; one that only claims an incarnation points to the same by "./".
 * Names that end in NEXUS_LOCAL_TEMPORARY are on their way to replace another,
 * or were left behind by a crash and are overwritten.
 */
#include "postgres.h"

#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/local_directory.h"

#include "net/local_socket.h"
#include "storage/fd.h"

#define NEXUS_LOCAL_TEMPORARY ".new"	/* suffix of a name to be renamed */

#define CLAIM_PREFIX "./"

void
nexus_local_directory_create(void)
{
	if (mkdir(NEXUS_SOCKET_DIR, S_IRWXU) < 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", NEXUS_SOCKET_DIR)));
	if (chmod(NEXUS_SOCKET_DIR, S_IRWXU) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not set permissions of directory \"%s\": %m", NEXUS_SOCKET_DIR)));
}

void
nexus_local_directory_path(Oid database, char *path)
{
	snprintf(path, NEXUS_LOCAL_PATH_MAX, NEXUS_SOCKET_DIR "/%u", database);
}

/* The database that a symlink leads to, and how; InvalidOid where there is none. */
static Oid
read_link(const char *path, bool *is_claim)
{
	char		target[NEXUS_LOCAL_PATH_MAX];
	ssize_t		len = readlink(path, target, sizeof(target));
	size_t		prefix = strlen(CLAIM_PREFIX);
	int64_t		oid;

	*is_claim = len >= (ssize_t) prefix && memcmp(target, CLAIM_PREFIX, prefix) == 0;
	if (!*is_claim)
		prefix = 0;
	if (len < 0 || !nexus_text_to_int64(nexus_text_make(target + prefix, len - prefix), &oid)
		|| oid <= InvalidOid || oid > OID_MAX)
		return InvalidOid;
	return (Oid) oid;
}

static void
link_path(const NexusUuid *incarnation, char *path)
{
	char		name[NEXUS_UUID_TEXT_LEN + 1];

	nexus_uuid_format(incarnation, name);
	snprintf(path, NEXUS_LOCAL_PATH_MAX, NEXUS_SOCKET_DIR "/%s", name);
}

void
nexus_local_socket_link(Oid database, const NexusUuid *incarnation, bool is_claim)
{
	char		path[NEXUS_LOCAL_PATH_MAX];
	char		temporary[NEXUS_LOCAL_PATH_MAX + sizeof(NEXUS_LOCAL_TEMPORARY)];
	char		target[sizeof(CLAIM_PREFIX) + 16];
	bool		was_claim;

	link_path(incarnation, path);
	snprintf(temporary, sizeof(temporary), "%s" NEXUS_LOCAL_TEMPORARY, path);
	snprintf(target, sizeof(target), "%s%u", is_claim ? CLAIM_PREFIX : "", database);
	if (read_link(path, &was_claim) == database && was_claim == is_claim)
		return;

	nexus_local_directory_create();
	if (unlink(temporary) < 0 && errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", temporary)));
	if (symlink(target, temporary) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create symbolic link \"%s\": %m", temporary)));
	if (rename(temporary, path) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rename file \"%s\" to \"%s\": %m", temporary, path)));
}

Oid
nexus_local_socket_linked(const NexusUuid *incarnation)
{
	char		path[NEXUS_LOCAL_PATH_MAX];
	bool		is_claim;
	Oid			database;

	link_path(incarnation, path);
	database = read_link(path, &is_claim);
	return is_claim ? InvalidOid : database;
}

void
nexus_local_socket_unlink(Oid database, const NexusUuid *incarnation)
{
	char		path[NEXUS_LOCAL_PATH_MAX];
	bool		is_claim;

	link_path(incarnation, path);
	if (read_link(path, &is_claim) == database && unlink(path) < 0 && errno != ENOENT)
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", path)));
}

/* Whether a name is that of a database's socket. */
static bool
is_socket_of(const char *name, const char *oid)
{
	size_t		len = strlen(oid);

	return strncmp(name, oid, len) == 0 &&
		(name[len] == '\0' || strcmp(name + len, NEXUS_LOCAL_TEMPORARY) == 0);
}

void
nexus_local_socket_remove(Oid database)
{
	char		oid[16];
	DIR		   *dir = AllocateDir(NEXUS_SOCKET_DIR);
	struct dirent *entry;

	if (dir == NULL && errno == ENOENT)
		return;
	snprintf(oid, sizeof(oid), "%u", database);
	while ((entry = ReadDir(dir, NEXUS_SOCKET_DIR)) != NULL)
	{
		char		path[MAXPGPATH];
		bool		is_claim;

		snprintf(path, sizeof(path), NEXUS_SOCKET_DIR "/%s", entry->d_name);
		if (!is_socket_of(entry->d_name, oid) && read_link(path, &is_claim) != database)
			continue;
		if (unlink(path) < 0 && errno != ENOENT)
			ereport(WARNING,
					(errcode_for_file_access(),
					 errmsg("could not remove file \"%s\": %m", path)));
	}
	FreeDir(dir);
}

List *
nexus_local_socket_databases(void)
{
	List	   *databases = NIL;
	DIR		   *dir = AllocateDir(NEXUS_SOCKET_DIR);
	struct dirent *entry;

	if (dir == NULL && errno == ENOENT)
		return NIL;
	while ((entry = ReadDir(dir, NEXUS_SOCKET_DIR)) != NULL)
	{
		int64_t		oid;

		if (nexus_text_to_int64(nexus_text_of(entry->d_name), &oid) &&
			oid > InvalidOid && oid <= OID_MAX)
			databases = lappend_oid(databases, (Oid) oid);
	}
	FreeDir(dir);
	return databases;
}

/* Under another name first, so that a stale socket is replaced at once. */
void
nexus_local_directory_listen(int fd, Oid database, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char		path[NEXUS_LOCAL_PATH_MAX];

	nexus_local_directory_path(database, path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s" NEXUS_LOCAL_TEMPORARY, path);

	if (unlink(address.sun_path) < 0 && errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", address.sun_path)));
	if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, backlog) < 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not listen on Unix socket \"%s\": %m", address.sun_path)));
	if (chmod(address.sun_path, S_IRUSR | S_IWUSR) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not set permissions of file \"%s\": %m", address.sun_path)));
	if (rename(address.sun_path, path) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rename file \"%s\" to \"%s\": %m", address.sun_path, path)));
}
