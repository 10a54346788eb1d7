// What is wrong, in words that say what to do about it.

/** Why there is no microphone: `error` is what getUserMedia threw. */
export function microphoneProblem(error) {
  if (!window.isSecureContext) {
    return (
      "Browsers give microphone and sound only to pages from this machine or over https. Open the page on the " +
      `server's machine at http://localhost:${location.port || 80}/, or start the server with --tls. Here you can type.`
    );
  }
  switch (error.name) {
    case "NotAllowedError":
      return (
        "The browser does not let this page use the microphone. Allow it beside the address of the page (or in the " +
        "settings of your system), then press the button again. Until then you can type."
      );
    case "NotFoundError":
      return "There is no microphone. Plug one in, then press the button again. Until then you can type.";
    case "NotReadableError":
      return "The microphone cannot be opened: another program may be using it. Close that, then press the button again.";
    case "SecurityError":
      return "This browser keeps the microphone from pages like this one. You can type.";
    default:
      return `The microphone cannot be opened: ${error.message || error.name}. You can type.`;
  }
}

/** Why a response is not complete; null where nobody needs to be told. */
export function responseProblem(response) {
  const { reason, error } = response.status_details ?? {};
  if (response.status === "failed") {
    return `The reply failed: ${error?.message ?? error?.code ?? reason ?? "the server does not say why"}`;
  }
  if (response.status === "incomplete") {
    return reason === "max_output_tokens"
      ? "The reply was cut off: it is as long as a reply may be."
      : `The reply is not complete: ${reason ?? "the server does not say why"}`;
  }
  return null;
}
