/*
 * json_text.c
 *	  Write JSON strings and look documents over, in one pass each.
 */
#include "protocol/json_text.h"

/* Limits of PostgreSQL's numeric: digits before and after the decimal point. */
#define NUMERIC_MAX_WHOLE 131072
#define NUMERIC_MAX_FRACTION 16383
#define EXPONENT_CEILING 1000000	/* beyond all limits, far from overflow */

#define WORD_BYTES 8
#define REPEAT(byte) (UINT64_C(0x0101010101010101) * (byte))
#define HIGH_BITS REPEAT(0x80)

/* The high bit of each byte that equals "byte", among bytes that are ASCII. */
static inline uint64_t
matches(uint64_t word, unsigned char byte)
{
	uint64_t	x = word ^ REPEAT(byte);

	return (x - REPEAT(0x01)) & ~x & HIGH_BITS;
}

static inline bool
is_special(char c)
{
	return c == '"' || c == '\\' || ((unsigned char) c & 0x80) != 0;
}

/* The next byte that ends a run of plain ASCII within a string. */
static const char *
next_special(const char *p, const char *end)
{
	while (end - p >= WORD_BYTES)
	{
		uint64_t	word;

		memcpy(&word, p, WORD_BYTES);
		if (((word & HIGH_BITS) | matches(word, '"') | matches(word, '\\')) != 0)
			break;
		p += WORD_BYTES;
	}
	while (p < end && !is_special(*p))
		p++;
	return p;
}

static size_t
utf8_length(const char *p, const char *end)
{
	return nexus_text_utf8_length(nexus_text_make(p, (size_t) (end - p)));
}

/* From behind the opening quote to behind the closing one; NULL if not storable. */
static const char *
skip_string(const char *p, const char *end)
{
	while ((p = next_special(p, end)) < end)
	{
		size_t		len = 2;

		if (*p == '"')
			return p + 1;
		if (*p != '\\')
			len = utf8_length(p, end);
		else if (end - p < 2 || (end - p >= 6 && memcmp(p + 1, "u0000", 5) == 0))
			return NULL;
		else
			len = 1 + utf8_length(p + 1, end);
		if (len == 0)
			return NULL;
		p += len;
	}
	return end;
}

static const char *
skip_digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* Behind a number; NULL where numeric could not hold it. */
static const char *
skip_number(const char *p, const char *end)
{
	const char *start = *p == '-' ? p + 1 : p;
	int64_t		whole;
	int64_t		fraction = 0;
	int64_t		exponent = 0;
	bool		is_negative = false;

	p = skip_digits(start, end);
	whole = p - start;
	if (p < end && *p == '.')
	{
		start = p + 1;
		p = skip_digits(start, end);
		fraction = p - start;
	}
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			is_negative = *p++ == '-';
		for (; p < end && *p >= '0' && *p <= '9'; p++)
		{
			if (exponent < EXPONENT_CEILING)
				exponent = exponent * 10 + (*p - '0');
		}
	}
	if (is_negative)
		exponent = -exponent;
	if (whole + exponent > NUMERIC_MAX_WHOLE || fraction - exponent > NUMERIC_MAX_FRACTION)
		return NULL;
	return p;
}

bool
nexus_json_is_storable(NexusText json, int max_depth)
{
	const char *p = json.data;
	const char *end;
	int			depth = 0;

	if (json.len == 0)
		return true;
	end = p + json.len;
	while (p != NULL && p < end)
	{
		char		c = *p;

		if (c == '"')
			p = skip_string(p + 1, end);
		else if (c == '-' || (c >= '0' && c <= '9'))
			p = skip_number(p, end);
		else if (c == '{' || c == '[')
		{
			if (++depth > max_depth)
				return false;
			p++;
		}
		else if (((unsigned char) c & 0x80) != 0)
			return false;		/* only strings may hold these */
		else
		{
			if (c == '}' || c == ']')
				depth--;
			p++;
		}
	}
	return p != NULL;
}

static uint32_t
decode_utf8(const char *p, size_t len)
{
	static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t	code = (unsigned char) p[0] & lead_bits[len];

	for (size_t i = 1; i < len; i++)
		code = code << 6 | ((unsigned char) p[i] & 0x3f);
	return code;
}

#define REPLACEMENT 0xfffd

#define ESCAPE_LEN 6			/* of \uXXXX */

/* By hand, since a body may be nothing but these. */
static void
append_unit(NexusBuffer *out, uint32_t unit)
{
	static const char digits[] = "0123456789abcdef";
	char		escape[ESCAPE_LEN] = {
		'\\', 'u', digits[unit >> 12], digits[unit >> 8 & 0x0f], digits[unit >> 4 & 0x0f], digits[unit & 0x0f]
	};

	nexus_buffer_append(out, escape, sizeof(escape));
}

static void
append_unicode_escape(NexusBuffer *out, uint32_t code)
{
	if (code >= 0x10000)
	{
		code -= 0x10000;
		append_unit(out, 0xd800 | code >> 10);
		append_unit(out, 0xdc00 | (code & 0x3ff));
	}
	else
		append_unit(out, code);
}

/* Append one character that is not ASCII, and return how many bytes it took. */
static size_t
append_wide(NexusBuffer *out, const char *p, const char *end)
{
	size_t		len = utf8_length(p, end);

	append_unicode_escape(out, len > 0 ? decode_utf8(p, len) : REPLACEMENT);
	return len > 0 ? len : 1;
}

bool
nexus_json_append_string(NexusBuffer *out, NexusText text)
{
	const char *p = text.data;
	const char *end = text.len > 0 ? p + text.len : p;
	const char *run = p;

	nexus_buffer_append(out, "\"", 1);
	while (p < end)
	{
		unsigned char c = (unsigned char) *p;

		if (c >= 0x20 && c != 0x7f && !is_special(*p))
		{
			p++;
			continue;
		}
		nexus_buffer_append(out, run, (size_t) (p - run));
		if (c >= 0x80)
			p += append_wide(out, p, end);
		else
		{
			if (c == '"' || c == '\\')
				nexus_buffer_append_format(out, "\\%c", c);
			else if (c == '\n')
				nexus_buffer_append(out, "\\n", 2);
			else
				append_unicode_escape(out, c == '\0' ? REPLACEMENT : c);
			p++;
		}
		run = p;
	}
	nexus_buffer_append(out, run, (size_t) (p - run));
	return nexus_buffer_append(out, "\"", 1);
}

bool
nexus_json_append_ascii(NexusBuffer *out, NexusText json)
{
	const char *p = json.data;
	const char *end = json.len > 0 ? p + json.len : p;
	const char *run = p;

	while (p < end)
	{
		if (((unsigned char) *p & 0x80) == 0)
		{
			p++;
			continue;
		}
		nexus_buffer_append(out, run, (size_t) (p - run));
		p += append_wide(out, p, end);
		run = p;
	}
	return nexus_buffer_append(out, run, (size_t) (p - run));
}

/* The code unit of an escape \uXXXX at "p"; -1 where there is none. */
static int
unit_of_escape(const char *p, const char *end)
{
	int			unit = 0;

	if (end - p < ESCAPE_LEN || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (int i = 2; i < ESCAPE_LEN; i++)
	{
		char		c = p[i];

		unit <<= 4;
		if (c >= '0' && c <= '9')
			unit |= c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			unit |= (c | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return unit;
}

static bool
is_high_surrogate(int unit)
{
	return unit >= 0xd800 && unit <= 0xdbff;
}

static bool
is_low_surrogate(int unit)
{
	return unit >= 0xdc00 && unit <= 0xdfff;
}

void
nexus_json_make_storable(char *json, size_t len)
{
	const char *end = json + len;
	char	   *p = json;

	while ((p = memchr(p, '\\', (size_t) (end - p))) != NULL)
	{
		int			unit = unit_of_escape(p, end);

		if (is_high_surrogate(unit) && is_low_surrogate(unit_of_escape(p + ESCAPE_LEN, end)))
			p += 2 * ESCAPE_LEN;
		else if (unit >= 0)
		{
			if (unit == 0 || is_high_surrogate(unit) || is_low_surrogate(unit))
				memcpy(p, "\\ufffd", ESCAPE_LEN);
			p += ESCAPE_LEN;
		}
		else
			p += end - p >= 2 ? 2 : 1;
	}
}
