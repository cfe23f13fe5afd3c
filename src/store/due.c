/*
 * due.c
 *	  An operation as it is needed to send a request for it.
 */
#include "postgres.h"

#include "store/due.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "store/encoding.h"
#include "store/result.h"
#include "store/transaction.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* Where the strings of a NexusDue come from, before they are packed. */
typedef struct DueParts
{
	NexusDue	fixed;
	StringInfoData headers;
} DueParts;

/* Names and values of a jsonb object of strings, in UTF-8, each with a NUL. */
static void
unpack_headers(Datum headers, StringInfo out)
{
	JsonbIterator *it;
	JsonbValue	value;
	JsonbIteratorToken token;

	if (headers == (Datum) 0)
		return;
	it = JsonbIteratorInit(&DatumGetJsonbP(headers)->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		NexusText	text;

		if ((token != WJB_KEY && token != WJB_VALUE) || value.type != jbvString)
			continue;
		text = nexus_encoding_to_utf8(nexus_text_make(value.val.string.val, value.val.string.len));
		appendBinaryStringInfo(out, text.data, text.len);
		appendStringInfoChar(out, '\0');
	}
	if (out->len > 0)
		appendStringInfoChar(out, '\0');
}

static Size
packed_len(const char *string)
{
	return string == NULL ? 0 : strlen(string) + 1;
}

static const char *
pack(char **position, const char *string, Size len)
{
	char	   *start = *position;

	if (string == NULL)
		return NULL;
	memcpy(start, string, len);
	*position += len;
	return start;
}

/* One allocation for the struct and every byte it points to. */
static NexusDue *
pack_due(const DueParts *parts, MemoryContext context)
{
	const NexusDue *from = &parts->fixed;
	const char *strings[] = {from->endpoint, from->service, from->operation, from->callback_base,
	from->operation_token, from->input_content_type};
	const char **slots[lengthof(strings)];
	Size		size = sizeof(NexusDue) + parts->headers.len + from->input.len + 1;
	NexusDue   *due;
	char	   *position;

	for (size_t i = 0; i < lengthof(strings); i++)
		size += packed_len(strings[i]);
	due = MemoryContextAllocHuge(context, size);
	*due = *from;
	due->size = size;
	position = (char *) (due + 1);

	slots[0] = &due->endpoint;
	slots[1] = &due->service;
	slots[2] = &due->operation;
	slots[3] = &due->callback_base;
	slots[4] = &due->operation_token;
	slots[5] = &due->input_content_type;
	for (size_t i = 0; i < lengthof(strings); i++)
		*slots[i] = pack(&position, strings[i], packed_len(strings[i]));
	due->headers = parts->headers.len == 0 ? NULL : pack(&position, parts->headers.data, parts->headers.len);
	if (from->input.data != NULL)
		due->input.data = pack(&position, from->input.len > 0 ? from->input.data : "", Max(from->input.len, 1));
	return due;
}

/* What nexus_due_load carries along. */
typedef struct DueLoad
{
	Size		max_input;
	MemoryContext context;
	NexusEachDue each;
	void	   *arg;
} DueLoad;

#define DUE_COLUMNS \
	"o.id, o.state, o.attempt, o.owner::pg_catalog.oid::pg_catalog.int8, o.scheduled_time, o.started_time, " \
	"o.deadline, o.schedule_to_close_timeout, o.schedule_to_start_timeout, o.start_to_close_timeout, " \
	"o.cancellation_attempt, o.endpoint, o.service, o.operation, o.callback_base, o.operation_token, " \
	"o.input_content_type, o.headers, o.input"

/* One that is left out is not even fetched. */
static void
take_input(Datum value, Size max_input, NexusDue *due)
{
	Size		size = toast_raw_datum_size(value) - VARHDRSZ;
	bytea	   *input;

	if (size > max_input)
	{
		due->left_out = size;
		return;
	}
	input = DatumGetByteaPP(value);
	due->input = nexus_text_make(VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
}

static void
take_due(const NexusResultRow *row, void *arg)
{
	DueLoad    *load = arg;
	DueParts	parts = {.fixed = {.size = 0},.headers = {NULL, 0, 0, 0}};
	NexusDue   *due = &parts.fixed;
	bool		isnull;
	Datum		value;

	nexus_result_uuid(row, 1, &due->id);
	due->state = nexus_state_of_name(nexus_result_text(row, 2));
	due->is_closed = nexus_state_is_closed(due->state);
	due->attempt = (int32) nexus_result_int(row, 3, 0);
	due->owner = (Oid) nexus_result_int(row, 4, InvalidOid);
	due->scheduled_time = nexus_result_time(row, 5, 0);
	due->started_time = nexus_result_time(row, 6, 0);
	due->deadline = nexus_result_time(row, 7, DT_NOEND);
	due->schedule_to_close = nexus_result_interval_us(row, 8);
	due->schedule_to_start = nexus_result_interval_us(row, 9);
	due->start_to_close = nexus_result_interval_us(row, 10);
	due->cancellation_attempt = (int32) nexus_result_int(row, 11, 0);
	due->endpoint = nexus_result_text(row, 12);
	due->service = nexus_encoding_string_to_utf8(nexus_result_text(row, 13));
	due->operation = nexus_encoding_string_to_utf8(nexus_result_text(row, 14));
	due->callback_base = nexus_result_text(row, 15);
	due->operation_token = nexus_result_text(row, 16);
	due->input_content_type = nexus_encoding_string_to_utf8(nexus_result_text(row, 17));

	initStringInfo(&parts.headers);
	value = SPI_getbinval(row->tuple, row->desc, 18, &isnull);
	unpack_headers(isnull ? (Datum) 0 : value, &parts.headers);
	value = SPI_getbinval(row->tuple, row->desc, 19, &isnull);
	if (!isnull)
		take_input(value, load->max_input, due);
	load->each(pack_due(&parts, load->context), load->arg);
}

void
nexus_due_load(const NexusUuid *ids, int count, Size max_input, MemoryContext context, NexusEachDue each, void *arg)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDARRAYOID};
	DueLoad		load = {max_input, context, each, arg};
	Datum	   *elements = palloc(sizeof(Datum) * count);
	Datum		values[1];

	nexus_transaction_plan(&plan, "SELECT " DUE_COLUMNS " FROM nexus.operation o "
						   "WHERE o.id OPERATOR(pg_catalog.=) ANY ($1)", 1, types);
	for (int i = 0; i < count; i++)
		elements[i] = nexus_uuid_datum(&ids[i]);
	values[0] = PointerGetDatum(construct_array(elements, count, UUIDOID, sizeof(NexusUuid), false, TYPALIGN_CHAR));
	nexus_result_each(plan, values, take_due, &load);
}

static const char *
frame_text(NexusText text)
{
	return text.len == 0 ? NULL : pnstrdup(text.data, text.len);
}

NexusDue *
nexus_due_of_frame(const NexusExecuteFrame *frame, Oid owner, Datum headers)
{
	DueParts	parts = {.fixed = {.size = 0},.headers = {NULL, 0, 0, 0}};
	NexusDue   *due = &parts.fixed;

	due->id = frame->operation_id;
	due->state = NEXUS_STATE_SCHEDULED;
	due->owner = owner;
	due->scheduled_time = frame->scheduled_time;
	due->schedule_to_close = frame->schedule_to_close_timeout;
	due->schedule_to_start = frame->schedule_to_start_timeout;
	due->start_to_close = frame->start_to_close_timeout;
	due->deadline = nexus_operation_deadline(NEXUS_STATE_SCHEDULED, due->scheduled_time, 0, due->schedule_to_close,
											 due->schedule_to_start, due->start_to_close);
	due->endpoint = frame_text(frame->endpoint);
	due->service = nexus_encoding_string_to_utf8(frame_text(frame->service));
	due->operation = nexus_encoding_string_to_utf8(frame_text(frame->operation));
	due->callback_base = frame_text(frame->callback_base);
	due->input_content_type = nexus_encoding_string_to_utf8(frame_text(frame->input_content_type));
	if (frame->has_input)
		due->input = frame->input;
	initStringInfo(&parts.headers);
	unpack_headers(headers, &parts.headers);
	return pack_due(&parts, CurrentMemoryContext);
}

static const char *
moved(const NexusDue *to, const NexusDue *from, const char *pointer)
{
	return pointer == NULL ? NULL : (const char *) to + (pointer - (const char *) from);
}

void
nexus_due_move(NexusDue *to, const NexusDue *from)
{
	memcpy(to, from, from->size);
	to->endpoint = moved(to, from, from->endpoint);
	to->service = moved(to, from, from->service);
	to->operation = moved(to, from, from->operation);
	to->callback_base = moved(to, from, from->callback_base);
	to->operation_token = moved(to, from, from->operation_token);
	to->input_content_type = moved(to, from, from->input_content_type);
	to->headers = moved(to, from, from->headers);
	to->input.data = moved(to, from, from->input.data);
}

NexusDue *
nexus_due_with_base(const NexusDue *from, const char *base, MemoryContext context)
{
	Size		len = strlen(base) + 1;
	NexusDue   *due = MemoryContextAllocHuge(context, from->size + len);

	nexus_due_move(due, from);
	due->callback_base = memcpy((char *) due + from->size, base, len);
	due->size += len;
	return due;
}

void
nexus_due_store_callback_base(const NexusUuid *ids, int count, const char *base)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDARRAYOID, TEXTOID};
	Datum	   *elements = palloc(sizeof(Datum) * count);
	Datum		values[2];

	nexus_transaction_plan(&plan, "UPDATE nexus.operation AS o SET callback_base = $2 "
						   "WHERE o.id OPERATOR(pg_catalog.=) ANY ($1) AND o.callback_base IS NULL", 2, types);
	for (int i = 0; i < count; i++)
		elements[i] = nexus_uuid_datum(&ids[i]);
	values[0] = PointerGetDatum(construct_array(elements, count, UUIDOID, sizeof(NexusUuid), false, TYPALIGN_CHAR));
	values[1] = CStringGetTextDatum(base);
	nexus_transaction_execute(plan, values, NULL, SPI_OK_UPDATE);
}
