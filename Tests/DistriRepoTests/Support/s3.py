# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""s3.py MODULES DIR: an object storage service with the files of a folder, called by ObjectStorageTests.

Starts moto's S3 server on a free port, puts all files below DIR into the bucket «packages», readable for everybody, prints the bucket's URL, and ends with its
standard input. Hidden files and links are left out, as by any upload.
"""

import contextlib
import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import boto3  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

logging.getLogger("werkzeug").disabled = True
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
with contextlib.redirect_stdout(sys.stderr):
    server.start()
url = "http://{}:{}".format(*server.get_host_and_port())
client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
client.create_bucket(Bucket="packages")
root = Path(sys.argv[2])
for path in sorted(root.rglob("*")):
    if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
        client.put_object(Bucket="packages", Key=str(path.relative_to(root)), Body=path.read_bytes(), ACL="public-read")
print(f"{url}/packages", flush=True)
sys.stdin.read()
os._exit(0)
