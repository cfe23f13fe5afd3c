/*
 * local_directory.c
 *	  The names of sockets: one file per database, one symlink per incarnation.
 *
 * Symlinks point to a bare OID, so that the directory can be read from
 * anywhere.  Names that end in NEXUS_LOCAL_TEMPORARY are on their way to
 * replace another, or were left behind by a crash and are overwritten.
 */
#include "postgres.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/local_directory.h"

#include "net/local_socket.h"
#include "storage/fd.h"

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

/* Whether a name is a symlink to this target. */
static bool
is_link_to(const char *path, const char *target)
{
	char		found[NEXUS_LOCAL_PATH_MAX];
	ssize_t		len = readlink(path, found, sizeof(found));

	return len >= 0 && (size_t) len == strlen(target) && memcmp(found, target, len) == 0;
}

void
nexus_local_socket_link(Oid database, const NexusUuid *incarnation)
{
	char		name[NEXUS_UUID_TEXT_LEN + 1];
	char		path[NEXUS_LOCAL_PATH_MAX];
	char		temporary[NEXUS_LOCAL_PATH_MAX];
	char		target[16];

	nexus_uuid_format(incarnation, name);
	snprintf(path, sizeof(path), NEXUS_SOCKET_DIR "/%s", name);
	snprintf(temporary, sizeof(temporary), NEXUS_SOCKET_DIR "/%s" NEXUS_LOCAL_TEMPORARY, name);
	snprintf(target, sizeof(target), "%u", database);
	if (is_link_to(path, target))
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

		snprintf(path, sizeof(path), NEXUS_SOCKET_DIR "/%s", entry->d_name);
		if (!is_socket_of(entry->d_name, oid) && !is_link_to(path, oid))
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
