"""Source codec, CRC, LDPC and QAM."""
