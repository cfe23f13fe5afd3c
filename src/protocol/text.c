/*
 * text.c
 *	  Compare, trim and cut views of bytes.
 *
 * Only ASCII is folded, and by hand: the functions of ctype.h follow the
 * locale of the process.
 */
#include "protocol/text.h"

static unsigned char
fold(char c)
{
	return (c >= 'A' && c <= 'Z') ? (unsigned char) (c - 'A' + 'a') : (unsigned char) c;
}

bool
nexus_text_starts_fold(NexusText text, NexusText prefix)
{
	if (text.len < prefix.len)
		return false;
	for (size_t i = 0; i < prefix.len; i++)
	{
		if (fold(text.data[i]) != fold(prefix.data[i]))
			return false;
	}
	return true;
}

bool
nexus_text_equal_fold(NexusText a, NexusText b)
{
	return a.len == b.len && nexus_text_starts_fold(a, b);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

NexusText
nexus_text_trim(NexusText text)
{
	while (text.len > 0 && is_blank(text.data[0]))
	{
		text.data++;
		text.len--;
	}
	while (text.len > 0 && is_blank(text.data[text.len - 1]))
		text.len--;
	return text;
}

NexusText
nexus_text_cut(NexusText text, char separator, NexusText *rest)
{
	const char *found = NULL;
	size_t		before;

	if (text.len > 0)
		found = memchr(text.data, separator, text.len);
	if (found == NULL)
	{
		*rest = nexus_text_make(NULL, 0);
		return text;
	}
	before = (size_t) (found - text.data);
	*rest = nexus_text_make(found + 1, text.len - before - 1);
	return nexus_text_make(text.data, before);
}

bool
nexus_text_to_int64(NexusText text, int64_t *value)
{
	int64_t		result = 0;

	if (text.len == 0)
		return false;
	for (size_t i = 0; i < text.len; i++)
	{
		int			digit = text.data[i] - '0';

		if (digit < 0 || digit > 9)
			return false;
		if (result > (INT64_MAX - digit) / 10)
			return false;
		result = result * 10 + digit;
	}
	*value = result;
	return true;
}

size_t
nexus_text_utf8_length(NexusText text)
{
	const unsigned char *p = (const unsigned char *) text.data;
	size_t		len;
	unsigned char low = 0x80;	/* bounds of the second byte */
	unsigned char high = 0xbf;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (text.len < len)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;				/* less would be overlong */
	else if (p[0] == 0xed)
		high = 0x9f;			/* more would be a surrogate */
	else if (p[0] == 0xf0)
		low = 0x90;				/* less would be overlong */
	else if (p[0] == 0xf4)
		high = 0x8f;			/* more would be beyond U+10FFFF */
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
	{
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}
