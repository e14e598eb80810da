/*
 * Fuzz target: the report reader: finished reports and unfinished ones, whatever their bytes are, and all that is shown
 * of them.
 *
 * Input: choice (1), budget (2), the file.
 */
#include "finish.h"
#include "fuzz.h"
#include "report_file.h"
#include "report_output.h"
#include "report_size.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a terminal or a page would obey stands in no text of a report. */
static void require_shown(const char *text, size_t size, bool coloured)
{
    REQUIRE(is_utf8(text, size));
    for (size_t n = 0; n < size; n++) {
        uint8_t byte = (uint8_t)text[n];
        REQUIRE(byte == '\n' || (byte == 27 && coloured) || (byte >= ' ' && byte != 127));
    }
}

static void show_text(const json_t *document, bool coloured, bool verbose)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    REQUIRE(out != NULL);
    report_print_text(out, document, coloured, verbose);
    REQUIRE(fclose(out) == 0);
    require_shown(text, size, coloured);
    free(text);
}

static void show_markdown(const json_t *document, size_t budget, bool verbose)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    REQUIRE(out != NULL);
    REQUIRE(report_print_markdown(out, document, budget, verbose));
    REQUIRE(fclose(out) == 0);
    REQUIRE(size > 0 && size <= budget);
    require_shown(text, size, false);
    free(text);
}

static void show_all(json_t *document, unsigned choice, size_t budget)
{
    show_text(document, (choice & 1) != 0, (choice & 2) != 0);
    show_markdown(document, budget, (choice & 2) != 0);
    size_t before = json_dumpb(document, NULL, 0, JSON_COMPACT);
    report_fold(document);
    report_limit(document, budget);
    REQUIRE(json_is_object(document));
    size_t after = json_dumpb(document, NULL, 0, JSON_COMPACT);
    REQUIRE(after <= budget || after <= before + 4096);
    show_text(document, false, true);
}

/* As docs/crash.schema.json wants it, at the least. */
static void require_report(const json_t *document)
{
    static const char *const keys[] = {"schema", "status", "pid", "time", "signal", "threads", "diagnosis", "notes"};
    for (size_t n = 0; n < sizeof keys / sizeof keys[0]; n++)
        REQUIRE(json_object_get(document, keys[n]) != NULL);
    REQUIRE(json_is_array(json_object_get(document, "threads")) && json_is_array(json_object_get(document, "notes")));
}

static void read_as_records(const struct input *input, unsigned choice, size_t budget)
{
    json_t *document = report_from_partial((const char *)input->at, input->left);
    if (document != NULL) {
        require_report(document);
        show_all(document, choice, budget);
    }
    json_decref(document);
}

static void read_as_file(const struct input *input, unsigned choice, size_t budget)
{
    char path[64];
    char message[200];
    struct report_file file;
    int fd = file_of(input->at, input->left);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    memset(message, 0xa5, sizeof message);
    if (report_file_load(AT_FDCWD, path, &file, message, sizeof message)) {
        REQUIRE(json_is_object(file.document));
        show_all(file.document, choice, budget);
        report_file_free(&file);
    } else {
        REQUIRE(memchr(message, '\0', sizeof message) != NULL);
    }
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    unsigned choice = (unsigned)take_number(&input, 1);
    size_t budget = REPORT_BUDGET_MIN + (size_t)take_number(&input, 2) % (2 * (size_t)REPORT_BUDGET);
    if ((choice & 4) != 0)
        read_as_records(&input, choice, budget);
    else
        read_as_file(&input, choice, budget);
    return 0;
}
