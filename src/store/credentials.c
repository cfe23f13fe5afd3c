/*
 * credentials.c
 *	  Read credentials from user mappings and token files.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "config.h"
#include "storage/fd.h"
#include "store/credentials.h"
#include "store/encoding.h"
#include "store/options.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* Far above any token in use; a longer file is not one. */
#define TOKEN_FILE_MAX 16384

/* A token file as it was when last read; lives as long as the process. */
typedef struct TokenFile
{
	struct TokenFile *next;
	char	   *path;
	struct stat status;
	char		token[TOKEN_FILE_MAX + 1];
} TokenFile;

static const NexusStringOption credential_strings[] = {
	{"bearer_token", offsetof(NexusCredentials, bearer_token)},
	{"username", offsetof(NexusCredentials, username)},
	{"password", offsetof(NexusCredentials, password)},
	{"sslcert", offsetof(NexusCredentials, ssl_cert_file)},
	{"sslkey", offsetof(NexusCredentials, ssl_key_file)},
	{"sslpassword", offsetof(NexusCredentials, ssl_key_password)},
	{NULL, 0}
};

static TokenFile *token_files = NULL;

/* NULL where the text is no JSON. */
static Jsonb *
parse_json(const char *json)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile result = NULL;

	/*
	 * The parser's own error quotes the text, which may hold secrets.  It is
	 * safe to go on after it without a subtransaction, since a parser of a
	 * string takes nothing but memory.
	 */
	PG_TRY();
	{
		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return result;
}

static bool
add_header(NexusHeaders *headers, NexusText name, NexusText value, NexusError *error)
{
	if (!nexus_headers_check(name, value, error))
		return false;
	/* Authorization is the mapping's to set, if not the caller's. */
	if (!nexus_headers_is_allowed_for_caller(name) &&
		!nexus_text_equal_fold(name, nexus_text_of("Authorization")))
		return nexus_error_set(error, "header \"%.*s\" cannot be set", (int) name.len, name.data);
	if (!nexus_headers_add(headers, name, nexus_encoding_to_utf8(value)))
		return nexus_error_set(error, "the headers are larger than nexus_pg.max_header_size");
	return true;
}

bool
nexus_endpoint_parse_headers(const char *json, NexusHeaders *headers, NexusError *error)
{
	Jsonb	   *object = parse_json(json);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;
	NexusText	name = nexus_text_of("");

	if (object == NULL || !JB_ROOT_IS_OBJECT(object))
		return nexus_error_set(error, "the headers are not a JSON object");

	iterator = JsonbIteratorInit(&object->root);
	(void) JsonbIteratorNext(&iterator, &item, true);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_END_OBJECT)
	{
		if (token == WJB_KEY)
			name = nexus_text_make(item.val.string.val, item.val.string.len);
		else if (item.type != jbvString)
			return nexus_error_set(error, "the value of header \"%.*s\" is not a string",
								   (int) name.len, name.data);
		else if (!add_header(headers, name, nexus_text_make(item.val.string.val, item.val.string.len), error))
			return false;
	}
	return true;
}

static bool
is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
		a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
		a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The cache's entry of a path, made when there is none. */
static TokenFile *
get_token_file(const char *path)
{
	TokenFile  *file;

	for (file = token_files; file != NULL; file = file->next)
	{
		if (strcmp(file->path, path) == 0)
			return file;
	}
	file = MemoryContextAllocZero(TopMemoryContext, sizeof(TokenFile));
	file->path = MemoryContextStrdup(TopMemoryContext, path);
	file->next = token_files;
	token_files = file;
	return file;
}

/* Raises nothing, so that the descriptor is closed whatever happens. */
static const char *
read_token(int fd, TokenFile *file)
{
	struct stat status;
	ssize_t		len = 0;
	ssize_t		got;

	/* Forget the old one first: it must not outlive a failure. */
	memset(&file->status, 0, sizeof(file->status));
	if (fstat(fd, &status) != 0)
		return strerror(errno);
	if (!S_ISREG(status.st_mode))
		return "not a regular file";
	if (status.st_size > TOKEN_FILE_MAX)
		return "too large for a token";
	while (len < TOKEN_FILE_MAX && (got = read(fd, file->token + len, TOKEN_FILE_MAX - len)) != 0)
	{
		if (got < 0)
			return strerror(errno);
		len += got;
	}
	while (len > 0 && (file->token[len - 1] == '\n' || file->token[len - 1] == '\r'))
		len--;
	file->token[len] = '\0';
	if (strlen(file->token) != (size_t) len || !nexus_endpoint_is_token(file->token))
		return "not a token: empty, or with blanks or control characters";
	file->status = status;
	return NULL;
}

static bool
read_token_file(const char *path, char **token, char **reason)
{
	TokenFile  *file = get_token_file(path);
	struct stat status;
	const char *trouble = NULL;

	if (stat(path, &status) != 0)
		trouble = strerror(errno);
	else if (!is_same_file(&status, &file->status))
	{
		/* Without waiting, should the path be a pipe's. */
		int			fd = BasicOpenFile(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | PG_BINARY);

		trouble = fd < 0 ? strerror(errno) : read_token(fd, file);
		if (fd >= 0)
			close(fd);
	}
	if (trouble != NULL)
	{
		*reason = psprintf("could not read bearer_token_file \"%s\": %s", path, trouble);
		return false;
	}
	*token = pstrdup(file->token);
	return true;
}

bool
nexus_endpoint_is_token(const char *text)
{
	const char *c;

	for (c = text; *c != '\0'; c++)
	{
		if (*c <= ' ' || *c > '~')
			return false;
	}
	return c > text;
}

static bool
read_credential_option(NexusCredentials *credentials, DefElem *option, char **reason)
{
	NexusError	error = {0};

	if (nexus_options_take_string(credential_strings, credentials, option))
		return true;
	if (strcmp(option->defname, "bearer_token_file") == 0)
		return read_token_file(defGetString(option), &credentials->bearer_token, reason);
	if (strcmp(option->defname, "headers") == 0 &&
		!nexus_endpoint_parse_headers(defGetString(option), &credentials->headers, &error))
	{
		*reason = psprintf("option \"headers\" of the user mapping: %s", error.message);
		return false;
	}
	return true;
}

static HeapTuple
search_mapping(Oid server, Oid role)
{
	Datum		key = ObjectIdGetDatum(server);
	HeapTuple	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(role), key);

	/* PUBLIC's mapping is that of role 0. */
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid), key);
	return tuple;
}

bool
nexus_endpoint_read_credentials(Oid server, Oid role, NexusCredentials *out, char **reason)
{
	HeapTuple	tuple = search_mapping(server, role);
	List	   *options;
	ListCell   *cell;

	memset(out, 0, sizeof(*out));
	nexus_headers_init(&out->headers, nexus_max_header_size);
	if (!HeapTupleIsValid(tuple))
		return true;

	options = nexus_options_read(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions);
	ReleaseSysCache(tuple);
	foreach(cell, options)
	{
		if (!read_credential_option(out, lfirst(cell), reason))
		{
			nexus_endpoint_free_credentials(out);
			return false;
		}
	}
	return true;
}

void
nexus_endpoint_free_credentials(NexusCredentials *credentials)
{
	nexus_options_free_strings(credential_strings, credentials);
	nexus_headers_free(&credentials->headers);
}
