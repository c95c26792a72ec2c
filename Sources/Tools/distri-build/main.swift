// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ToolSupport

ToolMain.runSynchronously(BuildTool.self)
