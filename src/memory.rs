//! Memory that a load left over, back to the system.

/// Asks glibc for what it keeps of freed memory: of a model that is lowered from floats that is three times the int8
/// weights. Other C libraries keep little, and are not asked. Call it when something large was dropped.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it asks for nothing of its caller, and other threads may allocate meanwhile.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}
