from sparsetheory.certificates import Certificate


class NetworkTurboVBICertificate(Certificate): ...
