//! Reading canonical bytes: little-endian, fixed width, counts bounded, nothing left over.

/// Canonical bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end too early.
    #[error("the bytes end at {have} where {want} more are wanted")]
    Short {
        /// Bytes that were left.
        have: usize,
        /// Bytes that the next field needs.
        want: usize,
    },
    /// Bytes follow the last field.
    #[error("{0} bytes follow the end")]
    Trailing(usize),
    /// A count is above its limit.
    #[error("a count of {count} is above {limit}")]
    Count {
        /// What the bytes say.
        count: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A version, kind or stream that does not exist.
    #[error("{what} {value} does not exist")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
}

/// A cursor over canonical bytes.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let Some((head, tail)) = self.0.split_at_checked(count) else {
            return Err(CodecError::Short {
                have: self.0.len(),
                want: count,
            });
        };
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take returned N bytes"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count already read, refused above `limit`.
    pub(crate) fn bounded(count: impl Into<u64>, limit: u64) -> Result<usize, CodecError> {
        let count = count.into();
        if count > limit {
            return Err(CodecError::Count { count, limit });
        }
        Ok(count as usize)
    }

    pub(crate) fn finish(self) -> Result<(), CodecError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Trailing(self.0.len()))
        }
    }
}
