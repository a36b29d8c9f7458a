//! Where ONNX graphs of known models are, whose own repositories hold weights for `PyTorch` alone.

/// Repositories and their exports to ONNX, both as found in public code and documents that use them.
const EXPORTS: &[(&str, &str)] = &[
    ("openai/clip-vit-base-patch32", "Xenova/clip-vit-base-patch32"),
    ("openai/clip-vit-base-patch16", "Xenova/clip-vit-base-patch16"),
    ("openai/clip-vit-large-patch14", "Xenova/clip-vit-large-patch14"),
    ("openai/clip-vit-large-patch14-336", "Xenova/clip-vit-large-patch14-336"),
    (
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "onnx-community/CLIP-ViT-B-32-laion2B-s34B-b79K-ONNX",
    ),
    (
        "wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M",
        "onnx-community/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M-ONNX",
    ),
    (
        "wkcn/TinyCLIP-ViT-39M-16-Text-19M-YFCC15M",
        "onnx-community/TinyCLIP-ViT-39M-16-Text-19M-YFCC15M-ONNX",
    ),
    (
        "wkcn/TinyCLIP-ViT-40M-32-Text-19M-LAION400M",
        "onnx-community/TinyCLIP-ViT-40M-32-Text-19M-LAION400M-ONNX",
    ),
    ("apple/MobileCLIP-S0", "Xenova/mobileclip_s0"),
    ("apple/MobileCLIP-S1", "Xenova/mobileclip_s1"),
    ("apple/MobileCLIP-S2", "Xenova/mobileclip_s2"),
    ("apple/MobileCLIP-B", "Xenova/mobileclip_b"),
    ("apple/MobileCLIP-B-LT", "Xenova/mobileclip_blt"),
    ("google/siglip-base-patch16-224", "Xenova/siglip-base-patch16-224"),
    ("google/siglip-base-patch16-256", "Xenova/siglip-base-patch16-256"),
    ("google/siglip-base-patch16-256-multilingual", "Xenova/siglip-base-patch16-256-multilingual"),
    ("google/siglip-base-patch16-384", "Xenova/siglip-base-patch16-384"),
    ("google/siglip-base-patch16-512", "Xenova/siglip-base-patch16-512"),
    ("google/siglip-large-patch16-256", "Xenova/siglip-large-patch16-256"),
    ("google/siglip-large-patch16-384", "Xenova/siglip-large-patch16-384"),
    ("google/siglip2-base-patch16-224", "onnx-community/siglip2-base-patch16-224-ONNX"),
    ("google/siglip2-base-patch16-256", "onnx-community/siglip2-base-patch16-256-ONNX"),
    ("google/siglip2-base-patch16-384", "onnx-community/siglip2-base-patch16-384-ONNX"),
    ("google/siglip2-base-patch16-512", "onnx-community/siglip2-base-patch16-512-ONNX"),
    ("google/siglip2-base-patch32-256", "onnx-community/siglip2-base-patch32-256-ONNX"),
    ("OFA-Sys/chinese-clip-vit-base-patch16", "Xenova/chinese-clip-vit-base-patch16"),
    ("OFA-Sys/chinese-clip-vit-large-patch14", "Xenova/chinese-clip-vit-large-patch14"),
    ("OFA-Sys/chinese-clip-vit-large-patch14-336px", "Xenova/chinese-clip-vit-large-patch14-336px"),
];

/// The repository that holds ONNX graphs of a model, where its own doesn't and one is known.
#[must_use]
pub fn known_export(repository: &str) -> Option<&'static str> {
    let known = EXPORTS.iter().find(|(original, _)| original.eq_ignore_ascii_case(repository));
    known.map(|(_, export)| *export)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Repository;

    #[test]
    fn each_name_is_one_and_none_leads_to_itself() {
        for (at, (original, export)) in EXPORTS.iter().enumerate() {
            for name in [original, export] {
                assert_eq!(name.parse::<Repository>().unwrap().as_str(), *name);
            }
            assert_eq!(known_export(&original.to_uppercase()), Some(*export));
            assert_eq!(known_export(export), None);
            assert!(EXPORTS[..at].iter().all(|(other, _)| other != original), "{original} twice");
        }
    }
}
