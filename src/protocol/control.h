/*
 * control.h
 *	  Lines between the launcher and the listener program.
 *
 * The launcher writes settings to the listener's standard input; the listener
 * writes log lines and figures to its standard output.  One line each, ended by
 * LF.  End of file on standard input tells the listener to leave.
 */
#ifndef NEXUS_PROTOCOL_CONTROL_H
#define NEXUS_PROTOCOL_CONTROL_H

#include "protocol/buffer.h"

#define NEXUS_CONTROL_LINE_MAX 1024

/* Down: "settings 512 30000 2097152 1". */
typedef struct NexusListenerSettings
{
	int32_t		max_connections;
	int64_t		request_deadline_ms;
	int64_t		max_body;		/* bytes */
	bool		is_scanned;		/* every database was looked at: an
								 * incarnation that has no socket does not
								 * exist */
} NexusListenerSettings;

extern bool nexus_control_format_settings(NexusBuffer *out, const NexusListenerSettings *settings);
extern bool nexus_control_parse_settings(NexusText line, NexusListenerSettings *settings);

/* Up: "figures 3 1 17" whenever they changed, at most every 100 ms. */
typedef struct NexusListenerFigures
{
	int32_t		connections;
	int32_t		waiting;		/* requests that wait for a worker's answer */
	int64_t		rejected;		/* requests answered 4xx or 503, since start */
} NexusListenerFigures;

extern bool nexus_control_format_figures(NexusBuffer *out, const NexusListenerFigures *figures);
extern bool nexus_control_parse_figures(NexusText line, NexusListenerFigures *figures);

/* Up: "log warning text", or "log info text" for those who debug. */
extern bool nexus_control_format_log(NexusBuffer *out, bool is_warning, NexusText message);
extern bool nexus_control_parse_log(NexusText line, bool *is_warning, NexusText *message);

#endif							/* NEXUS_PROTOCOL_CONTROL_H */
