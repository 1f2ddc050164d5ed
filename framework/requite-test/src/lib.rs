//! What users of `requite` test with, and we too.
