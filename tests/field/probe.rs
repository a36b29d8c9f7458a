//! `edgeclip eval --linear-probe` against the same regression in numpy.

use std::process::Command;

use crate::available;
use crate::eval::{cards, eval};

/// The kept head is at the minimum of the objective that it says it is: the gradient is next to nothing there, and
/// numpy, descending from it and from zero, finds nothing lower. What is reported is what its weights say.
const CHECK: &str = r#"
import base64, csv, json, sys, tomllib, numpy
folder = sys.argv[1]
head = tomllib.load(open(f"{folder}/head.toml", "rb"))
row = next(r for r in json.load(open(f"{folder}/report/summary.json"))["rows"] if r["head"] == "linear probe")
x = numpy.load(f"{folder}/report/2/embeddings.npy").astype("float64")
names = [c["name"] for c in head["class"]]
truth = numpy.array([names.index(line["truth"]) for line in csv.DictReader(open(f"{folder}/report/2/predictions.csv"))])
weights = numpy.array([numpy.frombuffer(base64.b64decode(c["weights"]), "<f2") for c in head["class"]], "float64")
weights = numpy.hstack([weights, [[c["bias"]] for c in head["class"]]])
rows, l2 = numpy.hstack([x, numpy.ones((len(x), 1))]), head["training"]["l2"]
assert head["training"]["examples"] == len(x) and head["training"]["converged"] and head["embedding_dim"] == x.shape[1]

def objective(w):
    logits = rows @ w.T
    e = numpy.exp(logits - logits.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    loss = -numpy.log(p[numpy.arange(len(p)), truth]).sum() + l2 / 2 * (w[:, :-1] ** 2).sum()
    p[numpy.arange(len(p)), truth] -= 1
    slope = p.T @ rows
    slope[:, :-1] += l2 * w[:, :-1]
    return loss / len(rows), slope / len(rows)

def descended(w, steps=4000):
    # Nesterov's method with the step that the curvature allows.
    step = 1 / ((rows ** 2).sum(1).mean() / 2 + l2 / len(rows))
    last, at = w.copy(), w.copy()
    for k in range(steps):
        new = at - step * objective(at)[1]
        at, last = new + k / (k + 3) * (new - last), new
    return objective(last)[0]

loss, slope = objective(weights)
at_zero = objective(numpy.zeros_like(weights))[0]
assert abs(slope).max() < 2e-4, f"the gradient is {abs(slope).max()}"
best = min(descended(weights), descended(numpy.zeros_like(weights)))
assert loss - best < 1e-4 * at_zero, f"loss {loss}, numpy finds {best}"
print(len(x), len(names), f"{loss:.5f} {best:.5f} {abs(slope).max():.1e} {row['top1']:.3f}")
"#;

#[test]
fn numpy_finds_no_better_weights() {
    let python = |script: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", script]);
        command
    };
    if !available("python3 with numpy", &mut python("import numpy, tomllib")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    cards(folder.path());
    let probe = ["cards", "--linear-probe", "--save", "head.toml", "--report", "report"];
    let answer = eval(folder.path(), &probe);
    let row = &answer["rows"][1];
    assert!(row["top1"].as_f64().unwrap() > 0.3, "{row}");
    let output = python(CHECK).arg(folder.path()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    println!("{}", String::from_utf8_lossy(&output.stdout));
}
