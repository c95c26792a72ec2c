// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The python builder: a project with a `pyproject.toml` by the standard build front end, others by their `setup.py`.
///
/// The front end is PyPA's `build`, without isolation: backends are dependencies of the definition, not downloads. Its wheel is put in
/// place by PyPA's `installer` as a library, because the command takes the scheme of directories from the interpreter, and Debian's
/// says `local/lib`.
struct PythonBuildSystem: BuildSystem {
  func implicitDependencies(of definition: Definition, for architecture: Architecture) -> [BuildDependency] {
    // A python may bring what setup.py and the front end need, as that of the original does.
    BuildDependency.toolchain + [BuildDependency("python3")]
      + ["python3-setuptools", "python3-build"].map { BuildDependency($0, isRequired: false) }
  }

  func plan(_ definition: Definition, in layout: BuildLayout, with dependencies: [PackageID]) throws -> SystemPlan {
    SystemPlan(
      steps: SystemPlan.copyOfSource(in: layout) + [
        ["/bin/sh", "-ec", Self.build],
        ["/bin/sh", "-ec", Self.install, "install", "${DISTRI_PREFIX}", "${DISTRI_DESTDIR}", Self.installWheel],
        ["python3", "-c", Self.compile, "${DISTRI_PREFIX}", "${DISTRI_DESTDIR}"],
      ],
      environment: ["PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"],
      runtimeDependencies: ["python3"])
  }

  private static let build = """
    if [ -e pyproject.toml ]; then
      exec python3 -m build --wheel --no-isolation --outdir _wheel .
    elif [ -e setup.py ]; then
      exec python3 setup.py build
    fi
    echo "the source has neither pyproject.toml nor setup.py" >&2
    exit 1
    """

  /// Every directory that matters is said: Debian's distutils takes `local/lib` for all that is not Debian's own.
  private static let install = """
    if [ -e pyproject.toml ]; then
      exec python3 -c "$3" "$1" "$2" _wheel/*.whl
    fi
    modules=$1/lib/$(python3 -c 'import sys; sys.stdout.write("python%d.%d" % sys.version_info[:2])')/site-packages
    exec python3 setup.py install --skip-build --no-compile --root="$2" \\
      --prefix="$1" --install-lib="$modules" --install-scripts="$1/bin" --install-data="$1"
    """

  private static let installWheel = """
    import sys, sysconfig
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile
    prefix, root, name = sys.argv[1:]
    bases = dict.fromkeys(("base", "platbase", "installed_base", "installed_platbase"), prefix)
    with WheelFile.open(name) as wheel:
        paths = sysconfig.get_paths("posix_prefix", bases)
        paths["headers"] = paths["include"] + "/" + wheel.distribution
        install(wheel, SchemeDictionaryDestination(paths, sys.executable, "posix", destdir=root), {})
    """

  /// Byte code that is found by the hash of its source, not by a time, and that is not even compared: a package never changes.
  private static let compile = """
    import compileall, glob, os, py_compile, sys
    prefix, root = sys.argv[1:]
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    fine = True
    for name in ("site-packages", "dist-packages"):
        for modules in sorted(glob.glob(f"{glob.escape(root + prefix)}/lib/python3*/{name}")):
            fine &= bool(compileall.compile_dir(modules, quiet=1, stripdir=root, prependdir="/", invalidation_mode=mode))
    sys.exit(not fine)
    """
}
