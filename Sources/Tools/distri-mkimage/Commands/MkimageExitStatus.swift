// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ToolSupport

extension MkimageError: ExitStatusProviding {
  var exitStatus: ExitCode {
    switch self {
    case .missingTool, .machine: ExitStatus.unavailable
    case .toolFailed: ExitStatus.io
    case .missingObject, .noKernel: ExitStatus.notFound
    case .unusableModule, .unusableFile, .invalidDescription, .invalidAccount, .unusableUnit: ExitStatus.badData
    case .tooSmall: ExitStatus.usage
    }
  }
}
