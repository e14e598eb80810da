/*
 * Where each field lives in one interpreter: all that differs between CPython versions, as data.
 * Signal-safe: yes. Include from: core, target.
 *
 * To add a CPython version:
 *  1. run tools/layouts with its headers at hand: it writes the row of layout_tables.h (fields marked "headers");
 *  2. give its row of behaviour in layout.c (fields marked "semantics"), from its pycore_frame.h and pycore_stackref.h;
 *  3. from 3.13 on, give its schema of _Py_DebugOffsets in debug_offsets.c;
 *  4. add it to tools/pythons, so that every test runs on it.
 */
#ifndef PYUNW_CORE_LAYOUT_H
#define PYUNW_CORE_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

/* Offsets are bytes. 0 in an "(or 0)" field: this version has no such field. */

struct layout_runtime {         /* _PyRuntimeState */
    uint32_t size;              /* sizeof(_PyRuntimeState): of the version, varies with the patch */
    uint32_t finalizing;        /* the finalizing PyThreadState*, NULL while it lives */
    uint32_t interpreters_head; /* newest PyInterpreterState* */
    uint32_t interpreters_main; /* main PyInterpreterState*, NULL before initialization and after finalization */
    uint32_t interpreters_next_id;
    uint32_t main_thread;     /* pthread_t */
    uint32_t main_tstate;     /* (or 0) 3.13+ */
    uint32_t tstate_current;  /* (or 0) 3.8-3.11: gilstate.tstate_current, who holds the GIL */
    uint32_t gc_collecting;   /* (or 0) 3.8 */
    uint32_t gil_last_holder; /* (or 0) 3.8-3.10: PyThreadState* that took the GIL last */
    uint32_t gil_switches;    /* (or 0) 3.8-3.10: unsigned long, how often another took it than had before */
};

struct layout_interpreter { /* PyInterpreterState */
    uint32_t next;
    uint32_t id;
    uint32_t threads_head;
    uint32_t gil;           /* (or 0) 3.12+: ceval.gil, pointer to struct _gil_runtime_state */
    uint32_t gc_collecting; /* (or 0) 3.9+: gc.collecting, int */
};

struct layout_gil {       /* struct _gil_runtime_state */
    uint32_t last_holder; /* (or 0) 3.12+: PyThreadState*, meaningful while locked is 1 */
    uint32_t locked;      /* (or 0) 3.12+: int, 1 taken, 0 free, -1 not created */
    uint32_t enabled;     /* free-threaded: int, 0 where the GIL is off */
};

struct layout_thread { /* PyThreadState */
    uint32_t size;
    uint32_t prev;
    uint32_t next;
    uint32_t interp;
    uint32_t frame;         /* frame (3.8-3.10), cframe (3.11, 3.12), current_frame (3.13+) */
    uint32_t base_frame;    /* (or 0) 3.15: pointer to the embedded bottom frame */
    uint32_t status;        /* (or 0) 3.12+: _status, bits */
    uint32_t state;         /* (or 0) 3.13+: int, 1 attached */
    uint32_t gil_requested; /* (or 0) 3.15: int, 1 while it waits for the GIL */
    uint32_t thread_id;
    uint32_t native_thread_id; /* (or 0) 3.11+ */
    uint32_t id;
    uint32_t raised;      /* curexc_value (3.8-3.11), current_exception (3.12+): raised and not caught yet, or NULL */
    uint32_t raised_type; /* (or 0) 3.8-3.11: curexc_type */
    uint32_t exc_info;    /* _PyErr_StackItem*: the exceptions that are being handled, innermost first */
    uint32_t datastack_chunk; /* (or 0) 3.11+ */
    uint32_t datastack_top;   /* (or 0) 3.11+ */
    uint32_t datastack_limit; /* (or 0) 3.11+ */
};

struct layout_cframe { /* _PyCFrame, 3.11 and 3.12; all 0 elsewhere, except that current_frame may be 0 in 3.12 */
    uint32_t current_frame;
    uint32_t previous;
};

struct layout_chunk { /* _PyStackChunk, 3.11+ */
    uint32_t previous;
    uint32_t size;
    uint32_t data;
};

struct layout_frame {     /* PyFrameObject (3.8-3.10), _PyInterpreterFrame (3.11+) */
    uint32_t size;        /* bytes that reading one frame takes: up to the last field below */
    uint32_t executable;  /* f_code, f_executable */
    uint32_t previous;    /* f_back, previous */
    uint32_t instruction; /* f_lasti (int), prev_instr, instr_ptr */
    uint32_t owner;       /* (or 0) 3.11+: char */
    uint32_t is_entry;    /* (or 0) 3.11: bool */
    uint32_t executing;   /* (or 0) 3.8-3.10: f_executing (char) or f_state (int8_t) */
    uint32_t tlbc_index;  /* (or 0) 3.14t, 3.15t: int32_t */
    uint32_t localsplus;
    uint32_t locals; /* f_locals: the namespace of a module or class body, NULL in most functions */
};

struct layout_code { /* PyCodeObject */
    uint32_t size;   /* bytes that reading the fixed part takes */
    uint32_t units;  /* (or 0) 3.11+: ob_size, code units */
    uint32_t flags;  /* co_flags */
    uint32_t firstlineno;
    uint32_t filename;
    uint32_t name;
    uint32_t qualname;        /* (or 0) 3.11+ */
    uint32_t table;           /* co_lnotab (3.8, 3.9), co_linetable (3.10+) */
    uint32_t bytecode_object; /* (or 0) 3.8-3.10: co_code, PyBytesObject* */
    uint32_t bytecode;        /* (or 0) 3.11+: co_code_adaptive, inline */
    uint32_t first_traceable; /* (or 0) 3.11+: _co_firsttraceable, int, units */
    uint32_t tlbc;            /* (or 0) 3.14t, 3.15t: co_tlbc, _PyCodeArray* */
    uint32_t version;         /* (or 0) 3.12+: co_version, uint32_t */
    uint32_t nlocalsplus;     /* (or 0) 3.11+ */
    uint32_t stacksize;       /* co_stacksize */
    uint32_t framesize;       /* (or 0) 3.12+: co_framesize, words */
    uint32_t argcount;        /* co_argcount, int: the positional arguments */
    uint32_t kwonlyargcount;  /* co_kwonlyargcount, int */
    uint32_t varnames;        /* (or 0) 3.8-3.10: co_varnames, tuple */
    uint32_t cellvars;        /* (or 0) 3.8-3.10: co_cellvars, tuple */
    uint32_t freevars;        /* (or 0) 3.8-3.10: co_freevars, tuple */
    uint32_t cell2arg;        /* (or 0) 3.8-3.10: co_cell2arg, Py_ssize_t *, NULL where no argument is a cell */
    uint32_t localsplusnames; /* (or 0) 3.11+: co_localsplusnames, tuple */
    uint32_t localspluskinds; /* (or 0) 3.11+: co_localspluskinds, bytes */
};

struct layout_object { /* PyObject, PyVarObject, PyTypeObject, PyHeapTypeObject */
    uint32_t type;
    uint32_t var_size; /* ob_size of a PyVarObject */
    uint32_t tp_name;
    uint32_t tp_flags;
    uint32_t tp_basicsize;
    uint32_t tp_dictoffset;
    uint32_t tp_str;
    uint32_t tp_dict;
    uint32_t tp_mro;
    uint32_t ht_qualname;
    uint32_t ht_cached_keys; /* the keys of its instances' attributes */
};

struct layout_sequence {  /* PyTupleObject, PyListObject */
    uint32_t tuple_items; /* ob_item, inline */
    uint32_t list_items;  /* ob_item, pointer */
};

struct layout_number {   /* PyLongObject, PyFloatObject */
    uint32_t long_tag;   /* (or 0) 3.12+: lv_tag; before: ob_size tells the count of digits and the sign */
    uint32_t long_digit; /* ob_digit, 30 bits each in 4 bytes */
    uint32_t float_value;
};

struct layout_dict { /* PyDictObject, PyDictKeysObject, PyDictValues */
    uint32_t keys;
    uint32_t values;           /* NULL: the values stand with the keys */
    uint32_t keys_size;        /* (or 0) 3.8-3.10: dk_size, slots of the hash table */
    uint32_t keys_log2_size;   /* (or 0) 3.11+: dk_log2_size, uint8_t */
    uint32_t keys_log2_bytes;  /* (or 0) 3.11+: dk_log2_index_bytes, uint8_t */
    uint32_t keys_kind;        /* (or 0) 3.11+: dk_kind, uint8_t */
    uint32_t keys_entry_count; /* dk_nentries */
    uint32_t keys_indices;     /* dk_indices: the hash table, behind which the entries stand */
    uint32_t values_data;      /* PyDictValues.values; 0 before 3.13 */
};

struct layout_set { /* PySetObject */
    uint32_t size;
    uint32_t mask;
    uint32_t table;
};

struct layout_cell { /* PyCellObject */
    uint32_t value;
};

struct layout_bytes { /* PyBytesObject */
    uint32_t size;
    uint32_t data;
};

struct layout_text { /* PyASCIIObject, PyCompactUnicodeObject, PyUnicodeObject */
    uint32_t length;
    uint32_t hash;
    uint32_t state;
    uint32_t ascii_data;   /* sizeof(PyASCIIObject) */
    uint32_t compact_data; /* sizeof(PyCompactUnicodeObject) */
    uint32_t any_data;     /* PyUnicodeObject.data.any */
    uint32_t wide;         /* (or 0) 3.8-3.11: wstr */
    uint32_t wide_length;  /* (or 0) 3.8-3.11: wstr_length */
};

struct layout_exception {      /* _PyErr_StackItem, PyBaseExceptionObject and what builtin exceptions add to it */
    uint32_t handled;          /* exc_value: NULL or None where none is being handled */
    uint32_t handled_previous; /* previous_item */
    uint32_t args;             /* tuple */
    uint32_t os_errno;         /* PyOSErrorObject.myerrno, an object */
    uint32_t os_strerror;
    uint32_t os_filename;
    uint32_t os_filename2;
    uint32_t syntax_msg; /* PySyntaxErrorObject */
    uint32_t syntax_filename;
    uint32_t syntax_lineno; /* an object */
    uint32_t group_msg;     /* (or 0) 3.11+: PyBaseExceptionGroupObject */
    uint32_t group_excs;    /* (or 0) 3.11+: tuple */
};

struct layout_generator { /* PyGenObject */
    uint32_t frame;       /* gi_frame (pointer, 3.8-3.10), gi_iframe (embedded, 3.11+) */
    uint32_t frame_state; /* (or 0) 3.11+: gi_frame_state, int8_t */
};

/* What the headers say: rows of layout_tables.h, written by tools/layouts. */
struct layout_offsets {
    uint8_t minor;         /* 8 for 3.8 */
    uint8_t free_threaded; /* 1: Py_GIL_DISABLED */
    struct layout_runtime runtime;
    struct layout_interpreter interpreter;
    struct layout_gil gil;
    struct layout_thread thread;
    struct layout_cframe cframe;
    struct layout_chunk chunk;
    struct layout_frame frame;
    struct layout_code code;
    struct layout_object object;
    struct layout_bytes bytes;
    struct layout_text text;
    struct layout_generator generator;
    struct layout_sequence sequence;
    struct layout_number number;
    struct layout_dict dict;
    struct layout_set set;
    struct layout_cell cell;
    struct layout_exception exception;
};

enum table_format {
    TABLE_LNOTAB,    /* co_lnotab: 3.8, 3.9 */
    TABLE_LINETABLE, /* co_linetable of PEP 626: 3.10 */
    TABLE_LOCATIONS, /* co_linetable of PEP 657, the location table: 3.11+ */
};

/* Where an instance of a class has its attributes, if it has no dictionary yet. */
enum attribute_format {
    ATTRIBUTES_DICT,   /* nowhere: 3.8-3.10 */
    ATTRIBUTES_VALUES, /* 3.11: PyDictValues *, before the pointer to the dictionary */
    ATTRIBUTES_TAGGED, /* 3.12: in the place of that pointer, less 1 */
    ATTRIBUTES_INLINE, /* 3.13+: PyDictValues, behind tp_basicsize bytes of the object */
};

/* What the sources say: how the fields are to be understood. */
struct layout_semantics {
    uint8_t minor;
    uint8_t table_format;       /* enum table_format */
    uint8_t instruction_scale;  /* 3.8-3.10: bytes in one unit of f_lasti; 0: instruction is a pointer */
    uint8_t stackref_tags;      /* 3.14+: low bits of f_executable that are tags (pycore_stackref.h) */
    uint8_t has_shims;          /* 3.12+: entry frames stand between the evaluation loop's calls */
    uint8_t has_cframe;         /* 3.11, 3.12: thread state -> _PyCFrame -> frame, torn at the loop's entry */
    int8_t executing_value;     /* 3.8-3.10: what layout_frame.executing holds in a frame that is being run */
    int8_t generator_executing; /* 3.11+: gi_frame_state of a generator that is being run (FRAME_EXECUTING) */
    uint32_t hidden_owners;     /* bit n: a frame whose owner is n is an entry frame, to be skipped */
    uint32_t generator_owner;   /* owner of a frame inside a generator object */
    uint32_t status_active;     /* 3.12+: mask of _status.active */
    uint8_t text_kind_shift;    /* where PyASCIIObject.state keeps kind, compact, ascii, ready */
    uint8_t text_compact_bit;
    uint8_t text_ascii_bit;
    uint8_t text_ready_bit;   /* 3.8-3.11; 0: always ready */
    uint8_t attribute_format; /* enum attribute_format */
    uint8_t managed_dict;     /* 3.11+: words from the pointer to its dictionary to an instance (pycore_object.h) */
    uint8_t frame_specials; /* 3.11: words of a frame before its locals, FRAME_SPECIALS_SIZE; 0: co_framesize counts */
    /* faulthandler's text */
    uint8_t text_collecting;   /* 3.10+: prints "  Garbage-collecting" */
    uint8_t text_thread_names; /* 3.14+: prints thread names */
    uint8_t text_no_frame;     /* 0: "<no Python frame>", 1: "  <no Python frame>", 2: nothing */
};

struct layout {
    struct layout_offsets at;
    struct layout_semantics is;
    uint8_t row;          /* of layout_tables, if frames and code objects lie exactly as it says; else LAYOUT_NO_ROW */
    uint32_t thread_span; /* bytes that reading the listed fields of a thread state takes */
    uint32_t plain_text;  /* bits of PyASCIIObject.state that a compact, ready ASCII text has set */
};

enum { LAYOUT_NO_ROW = 255 };

enum { LAYOUT_MINOR_FIRST = 8, LAYOUT_MINOR_LAST = 15 };

/* Room that readers keep for one thread state, frame and code object: pyunw_layout_derive() refuses larger ones. */
enum { LAYOUT_THREAD_SPAN_MAX = 272, LAYOUT_FRAME_SIZE_MAX = 120, LAYOUT_CODE_SIZE_MAX = 232 };

/* Choose the layout of a version: 0, or PYUNW_ERR_UNSUPPORTED. */
int pyunw_layout_select(struct layout *layout, uint32_t version, bool free_threaded);

/* Derive what follows from the offsets, after they were chosen or overridden. PYUNW_ERR_LAYOUT where it cannot be. */
int pyunw_layout_derive(struct layout *layout);

#endif
