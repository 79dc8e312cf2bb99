"""The MQTT connection itself: paho joined to the event loop, reconnects, keep-alive, refusals."""
