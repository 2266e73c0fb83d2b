// Starts `priorlang lsp` and lets it answer for .prior files and priors in YAML. Without
// vscode-languageclient beside it the extension only colours.

const vscode = require("vscode");

let client;

async function activate(context) {
  let languageclient;
  try {
    languageclient = require("vscode-languageclient/node");
  } catch {
    vscode.window.showInformationMessage(
      "priorlang: colours only. Run `npm install` in the folder of the extension for findings, hovers and completion."
    );
    return;
  }
  const start = async () => {
    const [command, ...args] = vscode.workspace.getConfiguration("priorlang").get("command");
    client = new languageclient.LanguageClient(
      "priorlang",
      "priorlang",
      { command, args: [...args, "lsp"], transport: languageclient.TransportKind.stdio },
      {
        documentSelector: [{ language: "prior" }, { language: "yaml" }],
        synchronize: { fileEvents: vscode.workspace.createFileSystemWatcher("**/*.{prior,yaml,yml}") },
      }
    );
    try {
      await client.start();
    } catch (error) {
      vscode.window.showErrorMessage(
        `priorlang: \`${command} lsp\` does not start (${error.message}). ` +
          "Install it with `pip install 'priorlang[editor]'`, or set priorlang.command."
      );
    }
  };
  context.subscriptions.push(
    vscode.workspace.onDidChangeConfiguration(async (event) => {
      if (event.affectsConfiguration("priorlang.command")) {
        await deactivate();
        await start();
      }
    })
  );
  await start();
}

async function deactivate() {
  const running = client;
  client = undefined;
  if (running && running.needsStop()) await running.stop();
}

module.exports = { activate, deactivate };
