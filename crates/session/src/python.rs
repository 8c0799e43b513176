//! Lines of Python that load a layer's tensors, to be pasted by people who want to see for themselves.

use crate::api::TensorView;

/// A text as a literal of Python: nothing that a name holds can end it.
fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            ' '..='~' => literal.push(c),
            _ if u32::from(c) <= 0xffff => literal.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => literal.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    literal.push('"');
    literal
}

/// With the library of the format and torch.
pub(crate) fn torch(tensors: &[TensorView]) -> String {
    let mut lines =
        vec!["from safetensors import safe_open".to_string(), String::new(), "tensors = {}".into()];
    let mut files: Vec<&str> = tensors.iter().map(|tensor| tensor.file.as_str()).collect();
    files.dedup();
    for file in files {
        lines.push(format!("with safe_open({}, framework=\"pt\") as file:", literal(file)));
        for tensor in tensors.iter().filter(|tensor| tensor.file == file) {
            let (leaf, name) = (literal(&tensor.leaf), literal(&tensor.name));
            lines.push(format!("    tensors[{leaf}] = file.get_tensor({name})"));
        }
    }
    lines.join("\n") + "\n"
}

/// The type of NumPy that holds an element, and whether it comes with `ml_dtypes`; bytes where there is none.
fn numpy_type(dtype: &str) -> (&'static str, bool) {
    match dtype {
        "F64" => ("float64", false),
        "F32" => ("float32", false),
        "F16" => ("float16", false),
        "BF16" => ("bfloat16", true),
        "F8_E4M3" => ("float8_e4m3fn", true),
        "F8_E5M2" => ("float8_e5m2", true),
        "F8_E8M0" => ("float8_e8m0fnu", true),
        "I64" => ("int64", false),
        "U64" => ("uint64", false),
        "I32" => ("int32", false),
        "U32" => ("uint32", false),
        "I16" => ("int16", false),
        "U16" => ("uint16", false),
        "I8" => ("int8", false),
        "BOOL" => ("bool", false),
        _ => ("uint8", false),
    }
}

/// With NumPy alone, from the bytes.
pub(crate) fn numpy(tensors: &[TensorView]) -> String {
    let types: Vec<(&str, bool)> = tensors.iter().map(|tensor| numpy_type(&tensor.dtype)).collect();
    let mut lines = vec!["import numpy as np".to_string()];
    if types.iter().any(|(_, extra)| *extra) {
        lines.push("import ml_dtypes".into());
    }
    lines.extend([String::new(), "tensors = {}".into()]);
    for (tensor, (name, extra)) in tensors.iter().zip(types) {
        let dtype = format!("{}.{name}", if extra { "ml_dtypes" } else { "np" });
        let (file, leaf, begin, bytes) =
            (literal(&tensor.file), literal(&tensor.leaf), tensor.begin, tensor.bytes);
        let stored = format!("np.fromfile({file}, np.uint8, {bytes}, offset={begin})");
        // Codes narrower than a byte stay bytes.
        let whole = name != "uint8" || tensor.dtype == "U8";
        let shape = if whole { format!(".view({dtype}).reshape({:?})", tensor.shape) } else { String::new() };
        lines.push(format!("tensors[{leaf}] = {stored}{shape}"));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{literal, numpy, torch};
    use crate::api::TensorView;

    fn tensor(leaf: &str, dtype: &str, shape: &[u64], begin: u64, bytes: u64) -> TensorView {
        TensorView {
            leaf: leaf.into(),
            name: format!("up.{leaf}"),
            role: String::new(),
            dtype: dtype.into(),
            shape: shape.to_vec(),
            bytes,
            file: "m.safetensors".into(),
            begin,
            end: begin + bytes,
        }
    }

    #[test]
    fn lines_name_file_tensor_and_bytes() {
        let tensors =
            [tensor("weight", "U8", &[4, 8], 100, 32), tensor("weight_scale", "F8_E4M3", &[4, 1], 132, 4)];
        let expected = "from safetensors import safe_open\n\ntensors = {}\nwith safe_open(\"m.safetensors\", framework=\"pt\") as file:\n    tensors[\"weight\"] = file.get_tensor(\"up.weight\")\n    tensors[\"weight_scale\"] = file.get_tensor(\"up.weight_scale\")\n";
        assert_eq!(torch(&tensors), expected);
        let lines = numpy(&tensors);
        assert!(lines.starts_with("import numpy as np\nimport ml_dtypes\n"), "{lines}");
        assert!(lines.ends_with("tensors[\"weight_scale\"] = np.fromfile(\"m.safetensors\", np.uint8, 4, offset=132).view(ml_dtypes.float8_e4m3fn).reshape([4, 1])\n"), "{lines}");
        let four_bits = numpy(&[tensor("weight", "F4", &[4, 8], 0, 16)]);
        assert!(four_bits.ends_with("offset=0)\n") && !four_bits.contains("ml_dtypes"), "{four_bits}");
    }

    /// What Python reads again, by its own rules for literals.
    #[test]
    fn no_name_can_leave_its_quotes() {
        let expected = [
            ("a\"); import os  #", "\"a\\\"); import os  #\""),
            ("back\\slash\\", "\"back\\\\slash\\\\\""),
            ("line\nbreak\r\u{2028}", "\"line\\u000abreak\\u000d\\u2028\""),
            ("é\u{1f600}\u{202e}\0", "\"\\u00e9\\U0001f600\\u202e\\u0000\""),
        ];
        for (text, wanted) in expected {
            assert_eq!(literal(text), wanted);
        }
    }
}
