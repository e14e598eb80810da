/*
 * All reports of a folder: tell of them, remove old ones.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_REPORT_FOLDER_H
#define PYUNW_CLI_REPORT_FOLDER_H

#include "report_name.h"

#include <stdio.h>

struct report_entry {
    char *file;
    struct report_name name;
};

struct report_folder {
    char *path;
    int fd;                       /* -1: there is no such folder */
    struct report_entry *entries; /* the newest first */
    size_t count;
};

/* False where it cannot be read: errno says why. may_be_missing: a folder that is not there is an empty one. */
bool report_folder_open(const char *path, bool may_be_missing, struct report_folder *folder);

void report_folder_close(struct report_folder *folder);

/* What is wrong with a file is told by this. */
typedef void report_complain(const char *file, const char *why);

/* By fingerprint, the newest first. False where not all could be read, which was told. */
bool report_folder_list_text(FILE *out, const struct report_folder *folder, bool coloured, report_complain *complain);
bool report_folder_list_json(FILE *out, const struct report_folder *folder, report_complain *complain);

struct prune_wish {
    bool has_keep;
    size_t keep; /* the newest that are kept, however old */
    bool has_days;
    double days;
};

/*
 * Remove what is not to be kept, and say so: regular files of this user with names of reports, and nothing else. One
 * that is not finished is left where it may be in work still. False where something could not be removed, which was
 * told.
 */
bool report_folder_prune(FILE *out, const struct report_folder *folder, const struct prune_wish *wish,
                         report_complain *complain);

#endif
