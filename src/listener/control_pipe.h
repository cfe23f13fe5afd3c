/*
 * control_pipe.h
 *	  The listener's end of its pipes to the launcher (protocol/control.h).
 */
#ifndef NEXUS_LISTENER_CONTROL_PIPE_H
#define NEXUS_LISTENER_CONTROL_PIPE_H

#include "protocol/control.h"

typedef void (*NexusControlOnSettings) (const NexusListenerSettings *settings);
typedef void (*NexusControlOnEnd) (void);

/*
 * Read settings from standard input, one call for each line, and one call when
 * it ends.  False where it cannot be waited for.
 */
extern bool nexus_control_pipe_open(NexusControlOnSettings on_settings, NexusControlOnEnd on_end);

/*
 * Write a log line.  Control characters become blanks.  A line that the pipe
 * has no room for is lost: the listener never waits for the launcher.
 */
extern void nexus_control_pipe_log(bool is_warning, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/*
 * The same for warnings that strangers can cause: at most one a second; the
 * next one says how many were left out.
 */
extern void nexus_control_pipe_complain(const char *format,...)
			__attribute__((format(printf, 1, 2)));

/*
 * Report the figures if they changed and the last report is long enough ago.
 * Returns when to call again, NEXUS_LOOP_NEVER where there is nothing to say.
 */
extern int64_t nexus_control_pipe_report(const NexusListenerFigures *figures);

#endif							/* NEXUS_LISTENER_CONTROL_PIPE_H */
