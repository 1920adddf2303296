"""Why the mutants that no test notices change nothing that a test could see: file, function and mutant to reason."""

_LEDGER = "lvm_mtc/link/ledger.py"
_CSI = "lvm_mtc/phy/csi.py"
_MIMO = "lvm_mtc/phy/mimo.py"

EXPLAINED = {}
