// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The perl builder: `Makefile.PL` and `make`, or for distributions that have none, `Build.PL` (Module::Build, Module::Build::Tiny).
struct PerlBuildSystem: BuildSystem {
  let extraFlags: [String]

  func implicitDependencies(of definition: Definition, for architecture: Architecture) -> [BuildDependency] {
    BuildDependency.toolchain + [BuildDependency("perl")]
  }

  func plan(_ definition: Definition, in layout: BuildLayout, with dependencies: [PackageID]) throws -> SystemPlan {
    SystemPlan(
      steps: SystemPlan.copyOfSource(in: layout) + [
        ["/bin/sh", "-ec", Self.configure, "configure", "${DISTRI_PREFIX}"] + extraFlags,
        ["/bin/sh", "-ec", Self.build, "build", "-j${DISTRI_JOBS}"],
        ["/bin/sh", "-ec", Self.install, "install", "${DISTRI_DESTDIR}"],
      ],
      environment: [
        // Nobody answers questions.
        "PERL_MM_USE_DEFAULT": "1", "PERL_AUTOINSTALL": "--skipdeps",
        // Many a Makefile.PL loads modules that lie beside it.
        "PERL_USE_UNSAFE_INC": "1",
        // Lists that are made of hashes get one order.
        "PERL_HASH_SEED": "0", "PERL_PERTURB_KEYS": "0",
      ],
      // Modules name each other, not files: what the build needed is what using them needs.
      runtimeDependencies: ["perl"] + definition.dependencies)
  }
  /// Without lists of what was installed, and when: packages know it better, and two of them would fight over perllocal.pod. Manuals
  /// do not go to man/, where nobody looks.
  private static let configure = """
    prefix=$1
    shift
    if [ -e Makefile.PL ]; then
      exec perl Makefile.PL INSTALL_BASE="$prefix" NO_PACKLIST=1 NO_PERLLOCAL=1 \\
        INSTALLSITEMAN1DIR="$prefix/share/man/man1" INSTALLSITEMAN3DIR="$prefix/share/man/man3" "$@"
    elif [ -e Build.PL ]; then
      exec perl Build.PL --install_base "$prefix" --create_packlist 0 \\
        --install_path bindoc="$prefix/share/man/man1" --install_path libdoc="$prefix/share/man/man3" "$@"
    fi
    echo "the source has neither Makefile.PL nor Build.PL" >&2
    exit 1
    """

  private static let build = """
    if [ -e Makefile.PL ]; then exec make "$1"; fi
    exec perl Build
    """

  private static let install = """
    if [ -e Makefile.PL ]; then exec make install DESTDIR="$1"; fi
    exec perl Build install --destdir "$1"
    """
}
