/*
 * fuzz_control.c
 *	  Lines between launcher and listener.
 */
#include "fuzz.h"

#include "protocol/control.h"
#include "protocol/payload.h"

/* A line that was written is one line, and says what was meant. */
static NexusText
require_line(const NexusBuffer *out)
{
	NexusText	line = nexus_buffer_view(out);

	REQUIRE(!out->is_broken);
	REQUIRE(line.len <= NEXUS_CONTROL_LINE_MAX);
	REQUIRE(memchr(line.data, '\n', line.len) == line.data + line.len - 1);
	return line;
}

static void
check_settings(NexusText text)
{
	NexusListenerSettings settings = {0};
	NexusListenerSettings again = {0};
	NexusBuffer out;

	if (!nexus_control_parse_settings(text, &settings))
		return;
	REQUIRE(settings.max_connections >= 0 && settings.request_deadline_ms >= 0 && settings.max_body >= 0);
	nexus_buffer_init(&out, 2 * NEXUS_CONTROL_LINE_MAX);
	REQUIRE(nexus_control_format_settings(&out, &settings));
	REQUIRE(nexus_control_parse_settings(require_line(&out), &again));
	REQUIRE(settings.max_connections == again.max_connections && settings.max_body == again.max_body &&
			settings.request_deadline_ms == again.request_deadline_ms && settings.is_scanned == again.is_scanned);
	nexus_buffer_free(&out);
}

static void
check_figures(NexusText text)
{
	NexusListenerFigures figures = {0};
	NexusListenerFigures again = {0};
	NexusBuffer out;

	if (!nexus_control_parse_figures(text, &figures))
		return;
	REQUIRE(figures.connections >= 0 && figures.waiting >= 0 && figures.rejected >= 0);
	nexus_buffer_init(&out, 2 * NEXUS_CONTROL_LINE_MAX);
	REQUIRE(nexus_control_format_figures(&out, &figures));
	REQUIRE(nexus_control_parse_figures(require_line(&out), &again));
	REQUIRE(figures.connections == again.connections && figures.waiting == again.waiting &&
			figures.rejected == again.rejected);
	nexus_buffer_free(&out);
}

/* What a peer had the listener say: one line of it, as far as there is room. */
static void
check_log(NexusText message, bool is_warning)
{
	NexusBuffer out;
	NexusText	found;
	bool		found_warning;

	nexus_buffer_init(&out, 2 * NEXUS_CONTROL_LINE_MAX);
	REQUIRE(nexus_control_format_log(&out, is_warning, message));
	REQUIRE(nexus_control_parse_log(require_line(&out), &found_warning, &found));
	REQUIRE(found_warning == is_warning);
	REQUIRE(found.len <= message.len);
	if (nexus_payload_is_utf8(message))
	{
		REQUIRE(nexus_payload_is_utf8(found));
		REQUIRE(found.len == message.len || found.len > NEXUS_CONTROL_LINE_MAX - 20);
	}
	for (size_t i = 0; i < found.len; i++)
		REQUIRE((unsigned char) found.data[i] >= 0x20 &&
				(found.data[i] == message.data[i] || (found.data[i] == ' ' && (unsigned char) message.data[i] < 0x20)));
	nexus_buffer_free(&out);
}

/* The same message so often that it must be cut. */
static void
check_long_log(NexusText message)
{
	NexusBuffer repeated;

	if (message.len == 0)
		return;
	nexus_buffer_init(&repeated, SIZE_MAX);
	while (repeated.len <= NEXUS_CONTROL_LINE_MAX)
		nexus_buffer_append_text(&repeated, message);
	check_log(nexus_buffer_view(&repeated), false);
	nexus_buffer_free(&repeated);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	text = input_text(data, size);
	NexusText	message;
	bool		is_warning;

	check_settings(text);
	check_figures(text);
	check_log(text, size % 2 == 0);
	check_long_log(text);
	if (nexus_control_parse_log(text, &is_warning, &message))
		REQUIRE(is_within(message, text));
	return 0;
}
