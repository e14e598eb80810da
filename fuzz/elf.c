/*
 * Fuzz target: an ELF file that may hold an interpreter: its kind, its symbols and sections, the version that stands in
 * it, its build id; and the same file as it lies in memory (its dynamic section), where nothing else is there of it.
 *
 * Input: the file.
 */
#include "bytes_at.h"
#include "core.h"
#include "fuzz.h"
#include "process_dynamic.h"
#include "process_elf.h"

#include <string.h>
#include <unistd.h>

static const pyunw_addr BEGIN = UINT64_C(0x200000000000);

/* Each segment of the file where it stands in it: what is linked so is common. */
static void look_in_memory(const uint8_t *data, size_t size)
{
    enum { READS_MAX = 1 << 20 };
    struct bytes_at loaded = {.address = BEGIN, .bytes = data, .size = size};
    struct mapping mapping = {.begin = BEGIN, .end = BEGIN + (size + 4095) / 4096 * 4096, .readable = true};
    const struct process_maps maps = {.mappings = &mapping, .count = 1};
    const struct source source = {.maps = &maps, .read = read_bytes_at, .context = &loaded};
    struct elf_marks marks;
    (void)pyunw_dynamic_look(&source, BEGIN, &marks);
    (void)pyunw_dynamic_has_runtime(&source, BEGIN);
    REQUIRE(loaded.reads <= READS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_marks marks;
    struct build_id id;
    char text[BUILD_ID_TEXT];
    int fd = file_of(data, size);
    enum elf_kind kind = pyunw_elf_kind(fd);
    bool good = pyunw_elf_look(fd, BEGIN, &marks);
    REQUIRE(!good || kind == ELF_KIND_OWN);
    uint32_t version = pyunw_elf_find_version_text(fd, 0);
    REQUIRE(version == 0 || version >> 24 == 3);
    (void)pyunw_elf_find_version_text(fd, 0x030c0000);
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    if (pyunw_build_id_of(elf, &id)) {
        REQUIRE(id.size > 0 && id.size <= BUILD_ID_MAX);
        pyunw_build_id_text(&id, text);
        REQUIRE(strlen(text) == 2 * id.size);
    }
    (void)elf_end(elf);
    (void)close(fd);
    look_in_memory(data, size);
    return 0;
}
