/*
 * Build ids (NT_GNU_BUILD_ID): what tells whether a file on disk is the one that was mapped.
 * Signal-safe: no.
 */
#include "core.h"

#include <gelf.h>
#include <stdio.h>
#include <string.h>

static bool take_note(Elf_Data *data, struct build_id *id)
{
    GElf_Nhdr note;
    size_t name = 0;
    size_t description = 0;
    for (size_t at = 0; (at = gelf_getnote(data, at, &note, &name, &description)) > 0;) {
        if (note.n_type != NT_GNU_BUILD_ID || note.n_namesz != sizeof ELF_NOTE_GNU || note.n_descsz == 0 ||
            note.n_descsz > BUILD_ID_MAX || memcmp((char *)data->d_buf + name, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) != 0)
            continue;
        id->size = note.n_descsz;
        memcpy(id->bytes, (char *)data->d_buf + description, id->size);
        return true;
    }
    return false;
}

/* By its program headers, which are all that is there of a file that was mapped. */
bool pyunw_build_id_of(Elf *elf, struct build_id *id)
{
    enum { LONG_NOTES = 1 << 16 };
    size_t count = 0;
    GElf_Phdr segment;
    *id = (struct build_id){.size = 0};
    if (elf == NULL || elf_getphdrnum(elf, &count) != 0)
        return false;
    for (size_t n = 0; n < count; n++) {
        if (gelf_getphdr(elf, (int)n, &segment) == NULL || segment.p_type != PT_NOTE || segment.p_filesz > LONG_NOTES)
            continue;
        Elf_Type type = segment.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR;
        Elf_Data *data = elf_getdata_rawchunk(elf, (int64_t)segment.p_offset, segment.p_filesz, type);
        if (data != NULL && take_note(data, id))
            return true;
    }
    return false;
}

void pyunw_build_id_text(const struct build_id *id, char text[BUILD_ID_TEXT])
{
    text[0] = '\0';
    for (size_t n = 0; n < id->size; n++)
        (void)snprintf(text + 2 * n, 3, "%02x", id->bytes[n]);
}
