/*
 * Opens the decoder of _Py_DebugOffsets to test_debug_offsets.py, which compiles this with layout.c and loads it:
 * its static table can be seen, and its results are given as the plain struct layout_offsets.
 */
/* NOLINTNEXTLINE(bugprone-suspicious-include): its static table is what the test looks at */
#include "debug_offsets.c"

int access_count(void);
int access_entry(int index, int schema, const char **name, int *width);
size_t access_table_size(int schema);
int access_row(uint32_t version, int free_threaded, struct layout_offsets *at);
int access_decode(const uint8_t *bytes, size_t size, struct layout_offsets *at, const char **what);
int access_probe(const uint8_t *bytes, size_t size, uint32_t *version, int *free_threaded);

int access_count(void)
{
    return sizeof entries / sizeof *entries;
}

/* Position of an entry in a schema, 0 if it has none. */
int access_entry(int index, int schema, const char **name, int *width)
{
    *name = entries[index].name;
    *width = entries[index].width;
    return entries[index].positions[schema];
}

size_t access_table_size(int schema)
{
    return schemas[schema].size;
}

int access_row(uint32_t version, int free_threaded, struct layout_offsets *at)
{
    struct layout layout;
    int err = pyunw_layout_select(&layout, version, free_threaded != 0);
    if (err == PYUNW_OK)
        *at = layout.at;
    return err;
}

/* Also when it fails *at gets what the layout then holds: what it held before. */
int access_decode(const uint8_t *bytes, size_t size, struct layout_offsets *at, const char **what)
{
    struct layout layout = {.at = *at};
    int err = pyunw_debug_offsets_decode(bytes, size, &layout, what);
    *at = layout.at;
    return err;
}

int access_probe(const uint8_t *bytes, size_t size, uint32_t *version, int *free_threaded)
{
    bool flag = false;
    int err = pyunw_debug_offsets_probe(bytes, size, version, &flag);
    *free_threaded = flag;
    return err;
}
