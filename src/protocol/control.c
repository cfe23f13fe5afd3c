/*
 * control.c
 *	  Lines between the launcher and the listener program.
 */
#include "protocol/control.h"

#include <inttypes.h>

#define MAX_NUMBERS 4			/* of one line */

/*
 * Take a line apart that is a word and exactly "count" numbers, with one
 * space between.
 */
static bool
parse_numbers(NexusText line, const char *word, int64_t *numbers, int count)
{
	NexusText	rest;

	if (line.len > 0 && line.data[line.len - 1] == '\n')
		line.len--;
	if (!nexus_text_equal(nexus_text_cut(line, ' ', &rest), nexus_text_of(word)))
		return false;
	for (int i = 0; i < count; i++)
	{
		if (rest.data == NULL ||
			!nexus_text_to_int64(nexus_text_cut(rest, ' ', &rest), &numbers[i]))
			return false;
	}
	return rest.data == NULL;
}

bool
nexus_control_format_settings(NexusBuffer *out, const NexusListenerSettings *settings)
{
	return nexus_buffer_append_format(out, "settings %" PRId32 " %" PRId64 " %" PRId64 " %d\n",
									  settings->max_connections, settings->request_deadline_ms,
									  settings->max_body, settings->is_scanned ? 1 : 0);
}

bool
nexus_control_parse_settings(NexusText line, NexusListenerSettings *settings)
{
	int64_t		numbers[MAX_NUMBERS];

	if (!parse_numbers(line, "settings", numbers, 4) ||
		numbers[0] > INT32_MAX || numbers[3] > 1)
		return false;
	settings->max_connections = (int32_t) numbers[0];
	settings->request_deadline_ms = numbers[1];
	settings->max_body = numbers[2];
	settings->is_scanned = numbers[3] == 1;
	return true;
}

bool
nexus_control_format_figures(NexusBuffer *out, const NexusListenerFigures *figures)
{
	return nexus_buffer_append_format(out, "figures %" PRId32 " %" PRId32 " %" PRId64 "\n",
									  figures->connections, figures->waiting, figures->rejected);
}

bool
nexus_control_parse_figures(NexusText line, NexusListenerFigures *figures)
{
	int64_t		numbers[MAX_NUMBERS];

	if (!parse_numbers(line, "figures", numbers, 3) ||
		numbers[0] > INT32_MAX || numbers[1] > INT32_MAX)
		return false;
	figures->connections = (int32_t) numbers[0];
	figures->waiting = (int32_t) numbers[1];
	figures->rejected = numbers[2];
	return true;
}

/* The length to which a message is cut, never within a UTF-8 character. */
static size_t
clipped_length(NexusText message, size_t max)
{
	size_t		len = message.len;

	if (len <= max)
		return len;
	len = max;
	while (len > 0 && ((unsigned char) message.data[len] & 0xc0) == 0x80)
		len--;
	return len;
}

bool
nexus_control_format_log(NexusBuffer *out, bool is_warning, NexusText message)
{
	const char *head = is_warning ? "log warning " : "log info ";
	size_t		start;

	message.len = clipped_length(message, NEXUS_CONTROL_LINE_MAX - strlen(head) - 1);
	nexus_buffer_append_string(out, head);
	start = out->len;
	nexus_buffer_append_text(out, message);

	/* one line it must stay, whatever a peer had us say */
	for (size_t i = start; i < out->len; i++)
	{
		if ((unsigned char) out->data[i] < 0x20)
			out->data[i] = ' ';
	}
	return nexus_buffer_append_string(out, "\n");
}

bool
nexus_control_parse_log(NexusText line, bool *is_warning, NexusText *message)
{
	NexusText	level;

	if (line.len > 0 && line.data[line.len - 1] == '\n')
		line.len--;
	if (!nexus_text_equal(nexus_text_cut(line, ' ', message), nexus_text_of("log")))
		return false;
	level = nexus_text_cut(*message, ' ', message);
	*is_warning = nexus_text_equal(level, nexus_text_of("warning"));
	return message->data != NULL &&
		(*is_warning || nexus_text_equal(level, nexus_text_of("info")));
}
