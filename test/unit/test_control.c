/*
 * test_control.c
 *	  Lines between launcher and listener.
 */
#include "protocol/control.h"
#include "tap.h"

static const char *const bad_settings[] = {
	"", "settings", "settings 1 2 3", "settings 1 2 3 4", "settings 1 2 3 1 5", "settings  1 2 3 1",
	"settings 2147483648 2 3 1", "settings -1 2 3 1", "setting 1 2 3 1", "settings 1 2 99999999999999999999 1"
};

static void
test_log(void)
{
	NexusBuffer out;
	NexusText	message;
	bool		is_warning = false;

	nexus_buffer_init(&out, 4096);
	nexus_control_format_log(&out, true, nexus_text_of("two\nlines"));
	is_text(nexus_buffer_view(&out), "log warning two lines\n", "a message stays one line");
	ok(nexus_control_parse_log(nexus_buffer_view(&out), &is_warning, &message) && is_warning, "warning");
	is_text(message, "two lines", "message");
	ok(nexus_control_parse_log(nexus_text_of("log info "), &is_warning, &message) && !is_warning, "info, empty");
	ok(!nexus_control_parse_log(nexus_text_of("log debug x"), &is_warning, &message), "unknown level");
	ok(!nexus_control_parse_log(nexus_text_of("log"), &is_warning, &message), "no level");
	nexus_buffer_reset(&out);
	{
		char		long_text[2002];

		memset(long_text, 'x', 2001);
		for (int i = 1; i < 2001; i += 2)
			memcpy(long_text + i, "\xc3\xa9", 2);
		nexus_control_format_log(&out, false, nexus_text_make(long_text, 2001));
	}
	ok(out.len <= NEXUS_CONTROL_LINE_MAX && out.len > NEXUS_CONTROL_LINE_MAX - 3, "a long message is cut off");
	ok(memcmp(out.data + out.len - 3, "\xc3\xa9\n", 3) == 0, "but not within a character");
	nexus_buffer_free(&out);
}

int
main(void)
{
	NexusBuffer out;
	NexusListenerSettings settings = {512, 30000, 2097152, true};
	NexusListenerFigures figures = {3, 1, 17};

	nexus_buffer_init(&out, 4096);
	nexus_control_format_settings(&out, &settings);
	is_text(nexus_buffer_view(&out), "settings 512 30000 2097152 1\n", "settings");
	memset(&settings, 0, sizeof(settings));
	ok(nexus_control_parse_settings(nexus_buffer_view(&out), &settings), "settings parse");
	ok(settings.max_connections == 512 && settings.request_deadline_ms == 30000 &&
	   settings.max_body == 2097152 && settings.is_scanned, "settings come back");
	for (size_t i = 0; i < LENGTH_OF(bad_settings); i++)
		ok(!nexus_control_parse_settings(nexus_text_of(bad_settings[i]), &settings), bad_settings[i]);
	nexus_buffer_reset(&out);
	nexus_control_format_figures(&out, &figures);
	is_text(nexus_buffer_view(&out), "figures 3 1 17\n", "figures");
	memset(&figures, 0, sizeof(figures));
	ok(nexus_control_parse_figures(nexus_buffer_view(&out), &figures) && figures.connections == 3 &&
	   figures.waiting == 1 && figures.rejected == 17, "figures come back");
	nexus_buffer_free(&out);
	test_log();
	return done();
}
