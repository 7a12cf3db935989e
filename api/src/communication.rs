//! What all surfaces of communication services have in common.
