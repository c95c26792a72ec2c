# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0
"""module.py SOURCE MODULE VERSION DOWNLOADS: puts a module into a directory as Go's module cache has it."""

import json
import os
import sys
import time
import zipfile

source, module, version, downloads = sys.argv[1:]
directory = os.path.join(downloads, module, "@v")
os.makedirs(directory, exist_ok=True)
date = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))

with open(os.path.join(directory, version + ".info"), "w") as info:
    json.dump({"Version": version, "Time": time.strftime("%Y-%m-%dT%H:%M:%SZ", date)}, info)
with open(os.path.join(source, "go.mod"), "rb") as file, open(os.path.join(directory, version + ".mod"), "wb") as copy:
    copy.write(file.read())

paths = []
for folder, folders, files in os.walk(source):
    # Other modules inside this one are none of its own.
    folders[:] = [name for name in folders if not os.path.exists(os.path.join(folder, name, "go.mod")) and name != "vendor"]
    paths += [os.path.join(folder, name) for name in files]
with zipfile.ZipFile(os.path.join(directory, version + ".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
    for path in sorted(paths):
        name = os.path.relpath(path, source)
        if name == os.path.basename(__file__) or os.path.islink(path):
            continue
        entry = zipfile.ZipInfo(f"{module}@{version}/{name}", date[:6])
        entry.compress_type = zipfile.ZIP_DEFLATED
        with open(path, "rb") as file:
            archive.writestr(entry, file.read())
