/*
 * test_buffer.c
 *	  Growth, the cap, and being broken for good.
 */
#include "protocol/buffer.h"
#include "tap.h"

int
main(void)
{
	NexusBuffer buffer;
	char	   *kept;

	nexus_buffer_init(&buffer, 1000);
	is_text(nexus_buffer_view(&buffer), "", "a new buffer is empty");
	ok(nexus_buffer_append_string(&buffer, "") && buffer.data[0] == '\0', "an empty append ends in NUL too");
	for (int i = 0; i < 100; i++)
		nexus_buffer_append_format(&buffer, "%09d;", i);
	is_int((int64_t) buffer.len, 1000, "filled up to the cap");
	ok(memcmp(buffer.data + 990, "000000099;", 11) == 0, "content, and a NUL behind it");
	ok(nexus_buffer_append(&buffer, "", 0), "nothing more still fits");
	ok(!nexus_buffer_append(&buffer, "x", 1) && buffer.is_broken, "one byte too many breaks it");
	is_int((int64_t) buffer.len, 1000, "what was in it stays");
	ok(!nexus_buffer_append(&buffer, "", 0), "broken for good");
	kept = buffer.data;
	nexus_buffer_reset(&buffer);
	ok(!buffer.is_broken && buffer.len == 0 && buffer.data == kept, "reset makes it whole and keeps the memory");
	ok(!nexus_buffer_append(&buffer, kept, SIZE_MAX) && buffer.len == 0, "a length that would overflow");
	nexus_buffer_reset(&buffer);
	ok(!nexus_buffer_append_format(&buffer, "%2000d", 1) && buffer.len == 0 && buffer.data[0] == '\0',
	   "a format beyond the cap appends nothing");
	nexus_buffer_reset(&buffer);
	ok(nexus_buffer_append_format(&buffer, "%500d", 1) && buffer.len == 500, "a format that makes it grow");
	nexus_buffer_free(&buffer);
	ok(nexus_buffer_append_string(&buffer, "again"), "can be used after free");
	nexus_buffer_free(&buffer);

	nexus_buffer_init(&buffer, 0);
	ok(!nexus_buffer_append(&buffer, "x", 1), "a cap of nothing holds nothing");
	nexus_buffer_free(&buffer);
	nexus_buffer_init(&buffer, SIZE_MAX);
	ok(nexus_buffer_append(&buffer, "x", 1), "no cap");
	nexus_buffer_free(&buffer);
	return done();
}
