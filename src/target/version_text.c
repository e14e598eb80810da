/*
 * Find the text of a version among other bytes.
 * Signal-safe: no.
 */
#include "version_text.h"

#include <stdio.h>
#include <string.h>

/* "rc2": the last byte of PY_VERSION_HEX; "" is a final release. *length: characters that say it. */
static uint32_t parse_level(const char *text, size_t *length)
{
    static const struct {
        const char *word;
        uint32_t level;
    } levels[] = {{"a", 0xa0}, {"b", 0xb0}, {"rc", 0xc0}};
    for (size_t n = 0; n < sizeof levels / sizeof levels[0]; n++) {
        size_t size = strlen(levels[n].word);
        if (strncmp(text, levels[n].word, size) == 0 && text[size] >= '0' && text[size] <= '9') {
            *length = size + 1;
            return levels[n].level | (uint32_t)(text[size] - '0');
        }
    }
    *length = 0;
    return 0xf0;
}

/*
 * "2.7.18", "3.8.18", "3.14.0rc2", "3.8.0+": PY_VERSION_HEX and where the version ends, or 0. Other libraries have
 * versions too; few are at 2.7, or at 3 with so small a minor.
 */
static uint32_t parse_version(const char *text, const char **end)
{
    enum { MINOR_MAX = 39 };
    unsigned major = 0;
    unsigned minor = 0;
    unsigned micro = 0;
    int length = 0;
    size_t level_length = 0;
    if ((text[0] != '2' && text[0] != '3') || text[1] != '.')
        return 0;
    /* NOLINTNEXTLINE(cert-err34-c): at most two digits each, so that no number is out of range */
    if (sscanf(text, "%1u.%2u.%2u%n", &major, &minor, &micro, &length) != 3)
        return 0;
    if (minor > MINOR_MAX || micro > 99 || (major == 2 && minor != 7))
        return 0;
    uint32_t level = parse_level(text + length, &level_length);
    *end = text + length + level_length;
    if (**end == '+')
        (*end)++;
    return major << 24 | minor << 16 | micro << 8 | level;
}

static void consider(struct version_search *search, const char *text)
{
    const char *end = text;
    uint32_t version = parse_version(text, &end);
    if (version == 0 || (search->minor != 0 && search->minor >> 16 != version >> 16))
        return;
    if (search->with_build ? strncmp(end, " (", 2) != 0 : *end != '\0')
        return;
    if (search->found != 0 && search->found != version)
        search->ambiguous = true;
    search->found = version;
}

void pyunw_version_search(struct version_search *search, const char *bytes, size_t size, bool first)
{
    const char *end = bytes + size;
    const char *at = first ? bytes : memchr(bytes, '\0', size);
    if (!first && at != NULL)
        at++;
    while (at != NULL && at < end) {
        const char *nul = memchr(at, '\0', (size_t)(end - at));
        if (nul == NULL)
            return;
        if (nul - at < VERSION_TEXT_MAX)
            consider(search, at);
        at = nul + 1;
    }
}
