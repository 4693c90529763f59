//! Slicing, Reed–Solomon, sealing and threshold shares
