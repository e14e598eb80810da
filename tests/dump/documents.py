"""For the tests of documents: which fields each object of a document has, and that all of it is as its schema says."""

import json

# Fields that only some documents have.
OF_A_CORE = {"signal", "crashed"}
WITH_LOCALS = {"locals", "locals_status"}


def check_keys(schema, kind, found, absent=()):
    """The schema allows fields that it does not know yet; today there are none."""
    assert set(found) == set(schema["$defs"][kind]["properties"]) - set(absent), (kind, sorted(found))


def check_document(validator, schema, text, absent=OF_A_CORE | WITH_LOCALS):
    """The number of frames in a valid document."""
    document = json.loads(text)
    error = next(validator.iter_errors(document), None)
    assert error is None, "%s\n%s" % (error, text)
    assert set(document) == set(schema["properties"])
    frames = 0
    for process in document["processes"]:
        check_keys(schema, "process", process, OF_A_CORE & absent)
        for thread in process["threads"]:
            check_keys(schema, "thread", thread, OF_A_CORE & absent)
            for frame in thread["frames"] + (thread["native_frames"] or []):
                python = frame["kind"] == "python"
                check_keys(schema, "frame" if python else "native_frame", frame, WITH_LOCALS & absent if python else ())
                for variable in frame.get("locals", ()):
                    check_keys(schema, "variable", variable)
                frames += 1
    return frames
