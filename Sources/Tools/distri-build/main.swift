// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ToolSupport

await ToolMain.run(BuildTool.self)
