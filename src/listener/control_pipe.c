/*
 * control_pipe.c
 *	  The listener's end of its pipes to the launcher (protocol/control.h).
 *
 * Lines are shorter than PIPE_BUF, so a write to the non-blocking pipe takes a
 * whole line or nothing.
 */
#include "listener/control_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "listener/loop.h"

#define FIGURES_INTERVAL_MS 100
#define COMPLAINT_INTERVAL_MS 1000
#define MESSAGE_MAX (NEXUS_CONTROL_LINE_MAX - 64)	/* and "log warning" */

typedef struct Input
{
	NexusWatch	watch;
	NexusControlOnSettings on_settings;
	NexusControlOnEnd on_end;
	char		line[NEXUS_CONTROL_LINE_MAX];
	size_t		line_len;
	bool		skips_line;		/* the rest of an over-long one */
} Input;

typedef struct Output
{
	NexusListenerFigures figures;
	bool		has_figures;
	int64_t		figures_ms;		/* of the last report */
	int64_t		complaint_ms;	/* of the last complaint */
	bool		has_complained;
	int			suppressed;		/* complaints since then */
} Output;

static Input input;
static Output output;

static bool
write_line(const NexusBuffer *line)
{
	return !line->is_broken && write(STDOUT_FILENO, line->data, line->len) == (ssize_t) line->len;
}

static void
take_line(void)
{
	NexusListenerSettings settings;

	if (input.skips_line ||
		!nexus_control_parse_settings(nexus_text_make(input.line, input.line_len), &settings))
		nexus_control_pipe_log(true, "listener does not understand a line of its settings");
	else
		input.on_settings(&settings);
	input.skips_line = false;
	input.line_len = 0;
}

static void
take_bytes(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (bytes[i] == '\n')
			take_line();
		else if (input.line_len < sizeof(input.line))
			input.line[input.line_len++] = bytes[i];
		else
			input.skips_line = true;
	}
}

static void
read_input(void *arg, uint32_t events)
{
	char		bytes[NEXUS_CONTROL_LINE_MAX];
	ssize_t		len = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (len > 0)
		take_bytes(bytes, (size_t) len);
	else if (len == 0 || (errno != EAGAIN && errno != EINTR))
	{
		nexus_loop_unwatch(&input.watch);
		input.on_end();
	}
}

bool
nexus_control_pipe_open(NexusControlOnSettings on_settings, NexusControlOnEnd on_end)
{
	input.on_settings = on_settings;
	input.on_end = on_end;
	input.watch.fd = STDIN_FILENO;
	input.watch.on_ready = read_input;
	(void) fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
	(void) fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
	return nexus_loop_watch(&input.watch, EPOLLIN);
}

static void
log_text(bool is_warning, char *text)
{
	NexusBuffer line;
	size_t		len = strlen(text);

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	nexus_buffer_init(&line, NEXUS_CONTROL_LINE_MAX);
	if (nexus_control_format_log(&line, is_warning, nexus_text_make(text, len)))
		(void) write_line(&line);
	nexus_buffer_free(&line);
}

void
nexus_control_pipe_log(bool is_warning, const char *format,...)
{
	char		text[MESSAGE_MAX];
	va_list		args;

	va_start(args, format);
	(void) vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_text(is_warning, text);
}

void
nexus_control_pipe_complain(const char *format,...)
{
	char		text[MESSAGE_MAX];
	size_t		len;
	va_list		args;

	if (output.has_complained && nexus_loop_now() < output.complaint_ms + COMPLAINT_INTERVAL_MS)
	{
		output.suppressed++;
		return;
	}
	va_start(args, format);
	(void) vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	len = strcspn(text, "\r\n");
	text[len] = '\0';
	if (output.suppressed > 0)
		(void) snprintf(text + len, sizeof(text) - len, " (%d more warnings left out before)", output.suppressed);
	output.has_complained = true;
	output.complaint_ms = nexus_loop_now();
	output.suppressed = 0;
	log_text(true, text);
}

static bool
figures_are_equal(const NexusListenerFigures *a, const NexusListenerFigures *b)
{
	return a->connections == b->connections && a->waiting == b->waiting && a->rejected == b->rejected;
}

int64_t
nexus_control_pipe_report(const NexusListenerFigures *figures)
{
	NexusBuffer line;
	int64_t		now = nexus_loop_now();

	if (output.has_figures && figures_are_equal(&output.figures, figures))
		return NEXUS_LOOP_NEVER;
	if (output.has_figures && now < output.figures_ms + FIGURES_INTERVAL_MS)
		return output.figures_ms + FIGURES_INTERVAL_MS;
	nexus_buffer_init(&line, NEXUS_CONTROL_LINE_MAX);
	if (nexus_control_format_figures(&line, figures) && write_line(&line))
		output.figures = *figures;
	nexus_buffer_free(&line);
	output.has_figures = true;
	output.figures_ms = now;
	return figures_are_equal(&output.figures, figures) ? NEXUS_LOOP_NEVER : now + FIGURES_INTERVAL_MS;
}
