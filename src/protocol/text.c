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
