/*
 * url.h
 *	  URLs of start, cancel and callback requests.
 */
#ifndef NEXUS_PROTOCOL_URL_H
#define NEXUS_PROTOCOL_URL_H

#include "protocol/buffer.h"
#include "protocol/error.h"
#include "protocol/uuid.h"

/*
 * Check a base URL: http or https, a host, no user or password, no fragment,
 * no blank or control character, a valid port.
 */
extern bool nexus_url_check_base(NexusText url, NexusError *error);

/* The host of a checked base URL, brackets of IPv6 left out. */
extern NexusText nexus_url_host(NexusText url);

/* Whether a host names this machine: localhost, 127.0.0.0/8 or ::1. */
extern bool nexus_url_host_is_loopback(NexusText host);

/* Append one path segment, escaped as Go's url.PathEscape does. */
extern bool nexus_url_append_segment(NexusBuffer *out, NexusText segment);

/*
 * {base}/{service}/{operation}?callback=...; parameters of the base are kept.
 * An empty callback is left out.  Names "." and ".." and empty ones are
 * refused, since clients and servers clean them away.
 */
extern bool nexus_url_start(NexusBuffer *out, NexusText base, NexusText service,
							NexusText operation, NexusText callback, NexusError *error);

/* {base}/{service}/{operation}/cancel, parameters of the base kept. */
extern bool nexus_url_cancel(NexusBuffer *out, NexusText base, NexusText service,
							 NexusText operation, NexusError *error);

#define NEXUS_CALLBACK_PREFIX "/nexus/callback/"
#define NEXUS_CALLBACK_URL_MAX 1000 /* Temporal's limit for the whole URL */

/* {base}/nexus/callback/{incarnation}/{operation_id} */
extern bool nexus_url_callback(NexusBuffer *out, NexusText base, const NexusUuid *incarnation,
							   const NexusUuid *operation_id);

/* Take the path of a callback request apart; a query is ignored. */
extern bool nexus_url_parse_callback(NexusText path, NexusUuid *incarnation, NexusUuid *operation_id);

#endif							/* NEXUS_PROTOCOL_URL_H */
