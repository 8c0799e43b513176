//! What is known of Conv3d layers whose 5-D shape the file no longer shows.
//!
//! Packing flattens `[O, C, kt, kh, kw]` to `[O, K]` and pads K to a multiple of 16; neither C, the kernel
//! nor K is stored (`formats.md` d). Where the model's class fixes the kernel and its volume is at least
//! 16, K is certain again: at most one multiple of the volume lies within the last 16 columns.

/// Kernels by the last segment of the module, for the classes we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConvKernels {
    table: &'static [(&'static str, [u64; 3])],
}

/// diffusers 0.42, `AutoencoderKLWan`: its residual blocks and its ends use kernels of 3 x 3 x 3.
const WAN_VAE: &[(&str, [u64; 3])] =
    &[("conv1", [3, 3, 3]), ("conv2", [3, 3, 3]), ("conv_in", [3, 3, 3]), ("conv_out", [3, 3, 3])];

impl ConvKernels {
    /// The table for a model class, as `config.json` names it in `_class_name`.
    #[must_use]
    pub fn of_class(class_name: Option<&str>) -> Self {
        match class_name {
            Some("AutoencoderKLWan") => Self { table: WAN_VAE },
            _ => Self::default(),
        }
    }

    /// Whether the class is made of Conv3d layers, so that packed convolutions are of that kind.
    #[must_use]
    pub fn is_known(self) -> bool {
        !self.table.is_empty()
    }

    /// The shape `[O, C, kt, kh, kw]` of a packed layer, if it is certain.
    ///
    /// ```
    /// use quantscope_schemes::ConvKernels;
    /// let wan = ConvKernels::of_class(Some("AutoencoderKLWan"));
    /// assert_eq!(wan.shape("decoder.conv_out", 12, 96), Some([12, 3, 3, 3, 3]));
    /// assert_eq!(wan.shape("decoder.time_conv", 12, 96), None);
    /// ```
    #[must_use]
    pub fn shape(self, module: &str, out_channels: u64, padded_k: u64) -> Option<[u64; 5]> {
        let last = module.rsplit('.').next()?;
        let &(_, [t, h, w]) = self.table.iter().find(|(name, _)| *name == last)?;
        let volume = t * h * w;
        let channels = padded_k / volume;
        let fits = volume >= 16 && channels > 0 && padded_k - channels * volume < 16;
        fits.then_some([out_channels, channels, t, h, w])
    }
}
