# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""Both directions of interoperability with python-tuf, called by InteroperationTests.

interop.py write DIR             makes a repository with python-tuf in DIR: root.json, metadata/, targets/
interop.py update DIR            publishes a new version of it, with new keys for root, timestamp and snapshot
interop.py read TRUST URL NAME…  follows a repository with python-tuf's client, starting from TRUST/root.json, and brings targets to TRUST/targets
"""

import datetime
import json
import os
import pickle
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient import Updater

EXPIRES = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=30)
TOP = ["root", "timestamp", "snapshot", "targets"]
FILES = {
    "targets": {"top.txt": b"top", "sp ace/%/ü.bin": b"odd name"},
    "by rsa#": {"rsa/file": b"delegated to RSA"},
    "bins ü?": {"hashed": b"delegated by hash"},
}
# What makes a private key, and its scheme where that is not the usual one.
KINDS = {
    "rsa": (lambda: rsa.generate_private_key(65537, 3072), None),
    "rsa-pkcs1v15": (lambda: rsa.generate_private_key(65537, 2048), "rsa-pkcs1v15-sha256"),
    "ecdsa": (lambda: ec.generate_private_key(ec.SECP256R1()), None),
    "ed25519": (ed25519.Ed25519PrivateKey.generate, None),
}


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Repository:
    """A repository on disk, whose state is kept beside it."""

    def __init__(self, folder):
        self.folder = folder
        self.roles = {}
        self.keys = {}

    def save(self):
        state = {name: metadata.to_bytes() for name, metadata in self.roles.items()}
        keys = {name: [(pem(key), scheme) for key, scheme in keys] for name, keys in self.keys.items()}
        with open(os.path.join(self.folder, "state"), "wb") as file:
            pickle.dump((state, keys), file)

    def load(self):
        with open(os.path.join(self.folder, "state"), "rb") as file:
            state, keys = pickle.load(file)
        self.roles = {name: Metadata.from_bytes(data) for name, data in state.items()}
        for name, pems in keys.items():
            self.keys[name] = [(serialization.load_pem_private_key(text, None), scheme) for text, scheme in pems]

    def signers(self, name):
        return [
            CryptoSigner(key, SSlibKey.from_crypto(key.public_key(), scheme=scheme)) for key, scheme in self.keys[name]
        ]

    def delegate(self, name, kinds, delegator="root", role=None):
        """Gives a role new keys of these kinds."""
        self.keys[name] = [(KINDS[kind][0](), KINDS[kind][1]) for kind in kinds]
        parent = self.roles[delegator].signed
        if role is not None:
            if parent.delegations is None:
                parent.delegations = Delegations({}, {})
            parent.delegations.roles[name] = role
        if delegator == "root":
            for keyid in list(parent.roles[name].keyids):
                parent.revoke_key(keyid, name)
            parent.roles[name].threshold = len(kinds)
        for signer in self.signers(name):
            parent.add_key(signer.public_key, name)

    def add_files(self, role):
        for path, data in FILES[role].items():
            target = TargetFile.from_data(path, data, ["sha256", "sha512"])
            target.unrecognized_fields["custom"] = {"n": 1, "text": "ü"}
            self.roles[role].signed.targets[path] = target
            folder, _, file = path.rpartition("/")
            os.makedirs(os.path.join(self.folder, "targets", folder), exist_ok=True)
            with open(os.path.join(self.folder, "targets", folder, f"{target.hashes['sha256']}.{file}"), "wb") as out:
                out.write(data)

    def publish(self, former=None):
        former = former or []
        targets = [name for name in self.roles if name not in ("root", "timestamp", "snapshot")]
        order = ["root", *targets, "snapshot", "timestamp"]
        for name in order:
            metadata = self.roles[name]
            if name == "snapshot":
                for role in targets:
                    metadata.signed.meta[f"{role}.json"] = MetaFile.from_data(
                        self.roles[role].signed.version, self.roles[role].to_bytes(JSONSerializer()), ["sha256"]
                    )
            if name == "timestamp":
                metadata.signed.snapshot_meta = MetaFile.from_data(
                    self.roles["snapshot"].signed.version, self.roles["snapshot"].to_bytes(JSONSerializer()), ["sha256"]
                )
            metadata.signatures.clear()
            for signer in self.signers(name) + (former if name == "root" else []):
                metadata.sign(signer, append=True)
            version = "" if name == "timestamp" else f"{metadata.signed.version}."
            # Clients escape the name, and a server of static files undoes that.
            metadata.to_file(os.path.join(self.folder, "metadata", f"{version}{name}.json"), JSONSerializer())


def write(folder):
    repository = Repository(folder)
    os.makedirs(os.path.join(folder, "metadata"))
    repository.roles = {
        "root": Metadata(Root(expires=EXPIRES, unrecognized_fields={"x-custom": {"b": [1, None, True], "a": "\n\"\\ü"}})),
        "timestamp": Metadata(Timestamp(expires=EXPIRES)),
        "snapshot": Metadata(Snapshot(expires=EXPIRES)),
        "targets": Metadata(Targets(expires=EXPIRES)),
        "by rsa#": Metadata(Targets(expires=EXPIRES)),
        "bins ü?": Metadata(Targets(expires=EXPIRES)),
    }
    repository.delegate("root", ["ed25519", "ecdsa", "rsa"])
    repository.delegate("timestamp", ["ed25519"])
    repository.delegate("snapshot", ["ecdsa", "rsa-pkcs1v15"])
    repository.delegate("targets", ["rsa", "ed25519"])
    repository.delegate("by rsa#", ["rsa"], "targets", DelegatedRole("by rsa#", [], 1, True, ["rsa/*"]))
    prefixes = [f"{number:x}" for number in range(16)]
    repository.delegate(
        "bins ü?", ["ecdsa"], "targets", DelegatedRole("bins ü?", [], 1, False, None, path_hash_prefixes=prefixes)
    )
    for role in FILES:
        repository.add_files(role)
    repository.publish()
    repository.save()
    os.link(os.path.join(folder, "metadata", "1.root.json"), os.path.join(folder, "root.json"))


def update(folder):
    repository = Repository(folder)
    repository.load()
    former = repository.signers("root")
    for name, kinds in [("root", ["ecdsa", "ecdsa"]), ("timestamp", ["rsa"]), ("snapshot", ["ed25519", "rsa"])]:
        repository.delegate(name, kinds)
    FILES["targets"]["new.txt"] = b"new"
    repository.add_files("targets")
    for metadata in repository.roles.values():
        metadata.signed.version += 1
    repository.publish(former)
    repository.save()


def read(trust, url, names):
    with open(os.path.join(trust, "root.json"), "rb") as file:
        root = file.read()
    targets = os.path.join(trust, "targets")
    os.makedirs(targets, exist_ok=True)
    updater = Updater(os.path.join(trust, "metadata"), f"{url}/tuf/", targets, f"{url}/", bootstrap=root)
    updater.refresh()
    versions = {}
    for role in TOP:
        with open(os.path.join(trust, "metadata", f"{role}.json"), "rb") as file:
            versions[role] = json.load(file)["signed"]["version"]
    for name in names:
        info = updater.get_targetinfo(name)
        if info is None:
            raise SystemExit(f"{name} is no target")
        updater.download_target(info)
    print(json.dumps(versions, sort_keys=True))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", folder]:
            write(folder)
        case ["update", folder]:
            update(folder)
        case ["read", trust, url, *names]:
            read(trust, url, names)
        case _:
            raise SystemExit(__doc__)
