/*
 * link_local.c
 *	  Addresses that only mean something on the nearest wire.
 */
#include "net/link_local.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define IPV6_BYTES 16
#define PREFIX_BYTES 12			/* before an IPv4 address inside an IPv6 one */

static bool
is_ipv4_link_local(const unsigned char *bytes)
{
	return bytes[0] == 169 && bytes[1] == 254;
}

static bool
is_ipv6_link_local(const unsigned char *bytes)
{
	static const unsigned char mapped[PREFIX_BYTES] = {[10] = 0xff,[11] = 0xff};
	static const unsigned char compatible[PREFIX_BYTES] = {0};
	static const unsigned char translated[PREFIX_BYTES] = {0x00, 0x64, 0xff, 0x9b};
	static const unsigned char metadata[IPV6_BYTES] =
	{0xfd, 0x00, 0x0e, 0xc2,[14] = 0x02,[15] = 0x54};

	if (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80)
		return true;
	if (memcmp(bytes, metadata, IPV6_BYTES) == 0)
		return true;
	if (memcmp(bytes, mapped, PREFIX_BYTES) == 0 ||
		memcmp(bytes, compatible, PREFIX_BYTES) == 0 ||
		memcmp(bytes, translated, PREFIX_BYTES) == 0)
		return is_ipv4_link_local(bytes + PREFIX_BYTES);
	return false;
}

bool
nexus_link_local_is(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return is_ipv4_link_local((const unsigned char *)
								  &((const struct sockaddr_in *) address)->sin_addr);
	if (address->sa_family == AF_INET6)
		return is_ipv6_link_local((const unsigned char *)
								  &((const struct sockaddr_in6 *) address)->sin6_addr);
	return false;
}

bool
nexus_link_local_is_text(const char *address)
{
	unsigned char bytes[IPV6_BYTES];

	if (inet_pton(AF_INET, address, bytes) == 1)
		return is_ipv4_link_local(bytes);
	return inet_pton(AF_INET6, address, bytes) == 1 && is_ipv6_link_local(bytes);
}
