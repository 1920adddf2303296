"""Any scheme whose symbols are taken from a finite constellation, square QAM or a learned one."""
