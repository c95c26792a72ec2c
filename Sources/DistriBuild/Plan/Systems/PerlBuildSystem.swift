// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The perl builder: `Makefile.PL` and `make`.
struct PerlBuildSystem: BuildSystem {
  let extraFlags: [String]

  func implicitDependencies(of definition: Definition, for architecture: Architecture) -> [BuildDependency] {
    BuildDependency.toolchain + [BuildDependency("perl")]
  }

  func plan(_ definition: Definition, in layout: BuildLayout, with dependencies: [PackageID]) throws -> SystemPlan {
    let configure =
      [
        "perl", "Makefile.PL", "INSTALL_BASE=${DISTRI_PREFIX}",
        // Lists of what was installed, and when: packages know it better, and two of them would fight over perllocal.pod.
        "NO_PACKLIST=1", "NO_PERLLOCAL=1",
        // Not in man/, where nobody looks.
        "INSTALLSITEMAN1DIR=${DISTRI_PREFIX}/share/man/man1", "INSTALLSITEMAN3DIR=${DISTRI_PREFIX}/share/man/man3",
      ] + extraFlags
    return SystemPlan(
      steps: SystemPlan.copyOfSource(in: layout) + [
        configure, ["make", "-j${DISTRI_JOBS}"], ["make", "install", "DESTDIR=${DISTRI_DESTDIR}"],
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
}
